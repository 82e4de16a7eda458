"""Where a served request's time goes, from the server's own metrics before and after a load."""

from __future__ import annotations

from dataclasses import dataclass

from alexnet_client.contract import IMAGES_TOTAL, INFERENCE_SECONDS
from deploy.loadtest.server_time import count


@dataclass(frozen=True, slots=True)
class Counters:
    """What the server has counted so far for one model; seconds and images."""

    runs: float
    images: float
    network: float

    def __sub__(self, other: Counters) -> Counters:
        return Counters(*(getattr(self, name) - getattr(other, name) for name in Counters.__slots__))


def read(metrics_url: str, model: str) -> Counters:
    """The counters of a model.

    Raises:
        LoadTestError: the server does not tell.
    """
    found = count(metrics_url)
    names = (f"{INFERENCE_SECONDS.name}_count", IMAGES_TOTAL.name, f"{INFERENCE_SECONDS.name}_sum")
    return Counters(*(found.get((name, model, ""), 0.0) for name in names))
