"""One measured point, and what can be said of several."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from statistics import median
from typing import Any

import numpy as np
from numpy.typing import NDArray

IN_PROCESS, TENSORS, FILES = "in-process", "served uint8 tensors", "served JPEG files"
SLEEPING, ONE_CLIENT, EACH_ITS_CLIENT = "served, asleep", "Python, one client", "Python, a client each"
#: A call that takes this long, and so many times the median, while cores are idle, waits for nothing.
STALL_MS, STALL_RATIO, STALL_IDLE = 400.0, 4.0, 0.05


@dataclass(frozen=True, slots=True)
class Measurement:
    """Throughput and latency at one setting: a batch in process, or so many callers at once of one image each."""

    what: str
    model: str
    images_per_second: float
    p50_ms: float
    p99_ms: float
    #: The slowest call, where every single one was timed.
    longest_ms: float | None = None
    batch: int | None = None
    callers: int | None = None
    #: Share of all cores' time that nobody used meanwhile, 0 to 1.
    idle: float | None = None

    @property
    def slowest_ms(self) -> float:
        """The slowest call that is known."""
        return self.p99_ms if self.longest_ms is None else self.longest_ms

    @property
    def stalled(self) -> bool:
        """Whether a call stood still: far slower than most, while cores were idle."""
        slow = self.slowest_ms >= STALL_MS and self.slowest_ms >= STALL_RATIO * self.p50_ms
        return slow and self.idle is not None and self.idle >= STALL_IDLE

    @property
    def setting(self) -> tuple[str, str, int | None, int | None]:
        """What was measured, without the figures."""
        return self.what, self.model, self.batch, self.callers

    def as_row(self) -> dict[str, Any]:
        """For the report: the figures rounded, and either ``batch`` or ``callers``."""
        row = {name: round(v, 3) if isinstance(v, float) else v for name, v in asdict(self).items()}
        return {name: value for name, value in row.items() if value is not None}


def latencies(seconds: Sequence[float] | NDArray[np.float64]) -> tuple[float, float, float]:
    """Median, 99th percentile and longest, in milliseconds, of calls that took so many seconds each."""
    p50, p99, longest = np.percentile(seconds, (50, 99, 100)) * 1000
    return float(p50), float(p99), float(longest)


def time_calls(call: Callable[[], object], images: int, seconds: float) -> tuple[float, float, float, float]:
    """Call for so many seconds, after one call that does not count.

    Returns:
        images a second; median, 99th percentile and longest of a call in milliseconds.
    """
    call()
    durations: list[float] = []
    started = time.perf_counter()
    while time.perf_counter() - started < seconds:
        before = time.perf_counter()
        call()
        durations.append(time.perf_counter() - before)
    return images * len(durations) / sum(durations), *latencies(durations)


def summarise(rounds: Sequence[Sequence[Measurement]]) -> list[Measurement]:
    """The median over rounds of each setting's figures, the longest call of all, in the order of the first round."""
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
            longest_ms=max((m.longest_ms for m in same if m.longest_ms is not None), default=None),
            idle=median(shares) if (shares := [m.idle for m in same if m.idle is not None]) else None,
            **{name: median(getattr(m, name) for m in same) for name in ("images_per_second", "p50_ms", "p99_ms")},
        )
        for (what, model, batch, callers), same in by_setting.items()
    ]


def speed(
    measurements: Sequence[Measurement], what: str, model: str, batch: int | None = None, callers: int | None = None
) -> float:
    """The throughput of one setting, images a second.

    Raises:
        ValueError: none was measured at that setting, or several were.
    """
    (found,) = (m for m in measurements if m.setting == (what, model, batch, callers))
    return found.images_per_second
