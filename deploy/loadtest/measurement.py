"""One measured point, and what can be said of several."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from statistics import median
from typing import Any

import numpy as np

IN_PROCESS, TENSORS, FILES = "in-process", "served uint8 tensors", "served JPEG files"


@dataclass(frozen=True, slots=True)
class Measurement:
    """Throughput and latency at one setting: a batch in process, or so many callers at once of one image each."""

    what: str
    model: str
    images_per_second: float
    p50_ms: float
    p99_ms: float
    batch: int | None = None
    callers: int | None = None

    @property
    def setting(self) -> tuple[str, str, int | None, int | None]:
        """What was measured, without the figures."""
        return self.what, self.model, self.batch, self.callers

    def as_row(self) -> dict[str, Any]:
        """For the report: the figures rounded, and either ``batch`` or ``callers``."""
        row = {name: round(v, 3) if isinstance(v, float) else v for name, v in asdict(self).items()}
        return {name: value for name, value in row.items() if value is not None}


def time_calls(call: Callable[[], object], images: int, seconds: float) -> tuple[float, float, float]:
    """Call for so many seconds, after one call that does not count.

    Returns:
        images a second, median and 99th percentile of a call in milliseconds.
    """
    call()
    durations: list[float] = []
    started = time.perf_counter()
    while time.perf_counter() - started < seconds:
        before = time.perf_counter()
        call()
        durations.append(time.perf_counter() - before)
    p50, p99 = np.percentile(durations, (50, 99)) * 1000
    return images * len(durations) / sum(durations), float(p50), float(p99)


def summarise(rounds: Sequence[Sequence[Measurement]]) -> list[Measurement]:
    """The median over rounds of each setting's figures, in the order of the first round."""
    by_setting: dict[tuple[str, str, int | None, int | None], list[Measurement]] = {}
    for each in rounds:
        for measurement in each:
            by_setting.setdefault(measurement.setting, []).append(measurement)
    return [
        Measurement(
            what=what,
            model=model,
            batch=batch,
            callers=callers,
            **{name: median(getattr(m, name) for m in same) for name in ("images_per_second", "p50_ms", "p99_ms")},
        )
        for (what, model, batch, callers), same in by_setting.items()
    ]


def best(measurements: Sequence[Measurement], what: str, model: str, batch: int | None = None) -> float:
    """The highest throughput of those that fit, images a second.

    Raises:
        ValueError: none fits.
    """
    return max(
        m.images_per_second for m in measurements if (m.what, m.model) == (what, model) and batch in (None, m.batch)
    )
