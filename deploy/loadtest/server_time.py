"""Where requests' time went inside the server, and what batches were formed: its metrics before and after a run."""

from __future__ import annotations

import urllib.request
from collections import Counter, defaultdict
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from prometheus_client.parser import text_string_to_metric_families

from alexnet_client.contract import BATCH_IMAGES
from deploy.loadtest.loadtest_error import LoadTestError

#: Seconds that a server may take to tell.
PATIENCE = 5.0
#: Triton's own counters, as the parser names them.
_REQUESTS, _RUNS = "nv_inference_request_success_total", "nv_inference_exec_count_total"
_MICROSECONDS = "nv_inference_{}_duration_us_total"
#: Sample, model, upper edge (of a histogram's bucket) -> value.
Counted = dict[tuple[str, str, str], float]


@dataclass(frozen=True, slots=True)
class ModelTime:
    """What a server counted of one model during a run; seconds are summed over its requests."""

    model: str
    requests: int
    #: Of the network, each on a batch.
    executions: int
    queue_seconds: float
    input_seconds: float
    infer_seconds: float
    output_seconds: float
    #: Upper edge -> executions whose batch had no more images, and more than the edge before; of our own backends only.
    batches: dict[str, int]

    def per_request(self) -> tuple[float, float]:
        """Mean seconds of a request in the queue, and in computing with what is copied for it."""
        computing = self.input_seconds + self.infer_seconds + self.output_seconds
        return self.queue_seconds / self.requests, computing / self.requests


def count(metrics_url: str) -> Counted:
    """What the server has counted so far.

    Raises:
        LoadTestError: it does not tell.
    """
    try:
        with urllib.request.urlopen(metrics_url, timeout=PATIENCE) as answer:
            text = answer.read().decode()
        found: Counted = defaultdict(float)
        for family in text_string_to_metric_families(text):
            if family.type == "gauge":  # requests that wait, which are fewer now or more
                continue
            for sample in family.samples:
                if "model" in sample.labels:
                    found[sample.name, sample.labels["model"], sample.labels.get("le", "")] += sample.value
    except (OSError, ValueError) as error:
        raise LoadTestError(
            f"no metrics at {metrics_url} ({error}): want the address of Prometheus' text, as http://host:8002/metrics"
        ) from error
    return dict(found)


def between(before: Counted, after: Counted) -> tuple[ModelTime, ...] | None:
    """What was counted meanwhile, of each model that was asked; None if the server began anew."""
    spent = {key: value - before.get(key, 0.0) for key, value in after.items()}
    if any(value < 0 for (name, *_), value in spent.items() if name.startswith("nv_inference")):
        return None
    models = sorted(model for (name, model, _), value in spent.items() if name == _REQUESTS and value > 0)
    return tuple(_model_time(spent, model) for model in models)


def _model_time(spent: Counted, model: str) -> ModelTime:
    def seconds(phase: str) -> float:
        return spent.get((_MICROSECONDS.format(phase), model, ""), 0.0) / 1e6

    name = f"{BATCH_IMAGES.name}_bucket"
    up_to = {edge: value for (each, of, edge), value in spent.items() if (each, of) == (name, model)}
    edges = sorted(up_to, key=float)
    batches = {
        edge: round(up_to[edge] - (up_to[low] if low else 0)) for low, edge in zip(["", *edges], edges, strict=False)
    }
    return ModelTime(
        model,
        round(spent[_REQUESTS, model, ""]),
        round(spent.get((_RUNS, model, ""), 0)),
        seconds("queue"),
        seconds("compute_input"),
        seconds("compute_infer"),
        seconds("compute_output"),
        {edge: number for edge, number in batches.items() if number},
    )


def total(runs: Iterable[tuple[ModelTime, ...] | None], model: str) -> list[ModelTime]:
    """Of several runs on a model: it and what it consists of, in the order in which requests pass them.

    Others may have been asked meanwhile for a sign of life: not half as often.
    """
    by_model: dict[str, list[ModelTime]] = {}
    for run in runs:
        for each in run or ():
            by_model.setdefault(each.model, []).append(each)
    found = {name: _sum(same) for name, same in sorted(by_model.items())}
    if model not in found:
        return []
    return [each for each in found.values() if each.requests >= found[model].requests / 2]


def _sum(same: Sequence[ModelTime]) -> ModelTime:
    batches = Counter[str]()
    for each in same:
        batches.update(each.batches)
    sums = {
        name: sum(getattr(each, name) for each in same)
        for name in ModelTime.__slots__
        if name not in ("model", "batches")
    }
    return ModelTime(model=same[0].model, batches=dict(batches), **sums)
