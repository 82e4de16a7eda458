"""How much is answered in time when far more is asked than can be answered. ``python -m deploy.loadtest overload``."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import psutil
from tqdm import tqdm

from alexnet_client.contract import ENSEMBLE, IMAGE, precision_model
from deploy.loadtest.arrivals import arrivals, steady
from deploy.loadtest.open_loop import Outcome, offer
from deploy.loadtest.photograph import photograph
from deploy.loadtest.workload import Workload, workload
from deploy.serve.server import LocalServer

MODEL = precision_model("int8")
#: Seconds that a caller waits for an answer.
DEADLINES = (1.0, 0.2)
#: Times the peak.
TOO_MUCH = (3, 10)
FIRST_RATE, SECONDS = 50.0, 8.0


@dataclass(frozen=True, slots=True)
class Point:
    """One load, and what it cost."""

    model: str
    deadline: float
    #: Its ``cores`` the generator used, of those that the server would have had.
    offered: Outcome

    @property
    def goodput(self) -> float:
        """Requests a second that were answered; the deadline is the callers'."""
        return self.offered.throughput


def measure_overload(repository: Path) -> list[Point]:
    """Double the rate until no more is answered, then offer multiples of that.

    Raises:
        alexnet_client.AlexNetError: there is no such repository, or the server does not start.
    """
    pixels = np.random.default_rng(0).integers(0, 256, IMAGE.shape, np.uint8)
    loads = [workload(MODEL, [pixels]), workload(ENSEMBLE, [photograph()])]
    with (
        LocalServer(repository, use_free_ports=True) as server,
        tqdm(desc="overload", unit="point", file=sys.stderr) as bar,
    ):
        points = []
        for load in loads:
            for point in _points(server.grpc_url, load):
                points.append(point)
                bar.update()
        return points


def _points(url: str, load: Workload) -> Iterator[Point]:
    rate, peak = FIRST_RATE, 0.0
    while True:
        point = _point(url, load, rate, DEADLINES[0])
        yield point
        if point.goodput < 1.2 * peak:
            break
        peak, rate = max(peak, point.goodput), 2 * rate
    for times in TOO_MUCH:
        for deadline in DEADLINES:
            yield _point(url, load, times * peak, deadline)


def _point(url: str, load: Workload, rate: float, deadline: float) -> Point:
    return Point(load.model, deadline, offer(url, load, arrivals(steady(rate, SECONDS)), deadline))


def as_table(points: list[Point]) -> str:
    """Every point; its goodput, and that for each core that the generator left, by the model's best."""
    all_cores = psutil.cpu_count() or 1
    lines = [
        f"{'model':14}{'offered/s':>10}{'deadline s':>11}{'in time/s':>10}{'of peak':>9}{'a core':>9}{'p99 ms':>8}"
    ]
    for point in points:
        same = [each for each in points if each.model == point.model]
        best = max(same, key=lambda each: each.goodput)
        share = point.goodput / max(best.goodput, 1e-9)
        a_core = share * (all_cores - best.offered.cores) / max(all_cores - point.offered.cores, 1e-9)
        lines.append(
            f"{point.model:14}{point.offered.offered:10.0f}{point.deadline:11g}{point.goodput:10.0f}"
            f"{share:9.2f}{a_core:9.2f}{point.offered.percentile(99) * 1000:8.0f}"
        )
    return "\n".join(lines)
