"""Where a served request's time goes, from the server's own metrics before and after a load."""

from __future__ import annotations

import urllib.request
from dataclasses import dataclass

from prometheus_client.parser import text_string_to_metric_families

from alexnet_client.contract import IMAGES_TOTAL, INFERENCE_SECONDS


@dataclass(frozen=True, slots=True)
class Counters:
    """What the server has counted so far for one model; seconds and images."""

    runs: float
    images: float
    network: float
    queue: float
    requests: float

    def __sub__(self, other: Counters) -> Counters:
        return Counters(*(getattr(self, name) - getattr(other, name) for name in Counters.__slots__))


def read(metrics_url: str, model: str) -> Counters:
    """The counters of a model.

    Raises:
        OSError: the server does not answer.
    """
    with urllib.request.urlopen(metrics_url) as answer:
        text = answer.read().decode()
    values: dict[str, float] = {}
    for family in text_string_to_metric_families(text):
        for sample in family.samples:
            if sample.labels.get("model") == model and "le" not in sample.labels:
                values[sample.name] = values.get(sample.name, 0) + sample.value
    return Counters(
        runs=values.get(f"{INFERENCE_SECONDS.name}_count", 0),
        images=values.get(IMAGES_TOTAL.name, 0),
        network=values.get(f"{INFERENCE_SECONDS.name}_sum", 0),
        queue=values.get("nv_inference_queue_duration_us_total", 0) / 1e6,
        requests=values.get("nv_inference_request_success_total", 0),
    )
