"""What LoadGen writes: its verdict and figures, and in accuracy mode the answer to every sample."""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from alexnet_client.files import file_errors
from deploy.loadtest.loadgen.settings import MULTI_STREAM, OFFLINE, SERVER, SINGLE_STREAM
from deploy.loadtest.loadtest_error import LoadTestError

DETAIL, ACCURACY = "mlperf_log_detail.txt", "mlperf_log_accuracy.json"
#: Before each of its entries.
MARK = ":::MLLOG "
#: The figure that each scenario is about: what we call it, LoadGen's key, and what a unit of it is of ours.
HEADLINE = {
    SINGLE_STREAM: ("p90, ms", "result_90.00_percentile_latency_ns", 1e-6),
    MULTI_STREAM: ("p99 of a query, ms", "result_99.00_percentile_per_query_latency_ns", 1e-6),
    SERVER: ("answered a second", "result_completed_samples_per_sec", 1.0),
    OFFLINE: ("samples a second", "result_samples_per_second", 1.0),
}
PERCENTS = (50, 90, 99)
#: What an invalid run lacks.
UNMET = {
    "result_perf_constraints_met": "p99 is missed",
    "result_min_duration_met": "it was too short",
    "result_min_queries_met": "there were too few queries",
    "early_stopping_met": "too few queries were in time to be sure of the percentile",
}


@dataclass(frozen=True, slots=True)
class Result:
    """LoadGen's word on a run."""

    #: ``VALID`` or ``INVALID``, and why.
    verdict: str
    reasons: tuple[str, ...]
    #: What the scenario is about, by :data:`HEADLINE`.
    name: str
    value: float
    #: Percent -> milliseconds; none of Offline, whose samples all wait from the start.
    percentiles: dict[int, float]
    queries: int

    def __str__(self) -> str:
        """For people, in a line."""
        why = f" ({'; '.join(self.reasons)})" if self.reasons else ""
        times = ", ".join(f"p{percent} {ms:.1f} ms" for percent, ms in self.percentiles.items())
        return f"{self.verdict}{why}: {self.name} {self.value:.1f}, queries {self.queries}{times and f', {times}'}"


def read_result(folder: Path, scenario: str) -> Result:
    """The verdict and the figures of a run.

    Raises:
        LoadTestError: LoadGen wrote none, or errors beside it.
        alexnet_client.FileError: its log cannot be read.
    """
    path = folder / DETAIL
    with file_errors(path):
        lines = path.read_text().splitlines()
    entries = [json.loads(line.removeprefix(MARK)) for line in lines if line.startswith(MARK)]
    errors = [str(entry["value"]) for entry in entries if entry["metadata"]["is_error"]]
    values: dict[str, Any] = {entry["key"]: entry["value"] for entry in entries}
    name, key, unit = HEADLINE[scenario]
    if errors or "result_validity" not in values or key not in values:
        raise LoadTestError(f"LoadGen has no result ({'; '.join(errors) or 'and gives no reason'}): see {path}")
    percentiles = {} if scenario == OFFLINE else {p: f"result_{p:.2f}_percentile_latency_ns" for p in PERCENTS}
    return Result(
        verdict=values["result_validity"],
        reasons=tuple(said for met, said in UNMET.items() if values.get(met) is False),
        name=name,
        value=unit * values[key],
        percentiles={percent: 1e-6 * values[its] for percent, its in percentiles.items()},
        queries=int(values["result_query_count"]),
    )


def read_classes(folder: Path, count: int) -> NDArray[np.int32]:
    """``int32[count]``: the class that was answered for each sample.

    Raises:
        LoadTestError: a sample has no answer, or more than one.
        alexnet_client.FileError: the log cannot be read.
    """
    path = folder / ACCURACY
    with file_errors(path):
        answers = json.loads(path.read_text())
    classes, seen = np.full(count, -1, np.int32), np.zeros(count, np.int64)
    for answer in answers:
        data = bytes.fromhex(answer["data"])
        seen[answer["qsl_idx"]] += 1
        if len(data) == classes.itemsize:
            classes[answer["qsl_idx"]] = np.frombuffer(data, np.int32)[0]
    if wrong := int(((seen != 1) | (classes < 0)).sum()):
        raise LoadTestError(f"of {count} samples {wrong} have no answer, or more than one: see {path}")
    return classes
