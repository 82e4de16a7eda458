"""How much is answered in time when far more is asked than can be answered. ``python -m deploy.loadtest overload``."""

from __future__ import annotations

import sys
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import psutil
from tqdm import tqdm

from alexnet_client.contract import ENCODED, ENSEMBLE, IMAGE, precision_model
from deploy.loadtest.hostile import request
from deploy.loadtest.open_loop import Offered, offer
from deploy.loadtest.photograph import photograph
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
    offered: Offered
    #: Cores that this generator used, of those that the server would have had.
    cores: float


def measure_overload(repository: Path) -> list[Point]:
    """Double the rate until no more is answered, then offer multiples of that.

    Raises:
        alexnet_client.AlexNetError: there is no such repository, or the server does not start.
    """
    file = photograph()
    messages = {
        MODEL: request(MODEL, IMAGE, (1, *IMAGE.shape), np.random.default_rng(0).bytes(int(np.prod(IMAGE.shape)))),
        ENSEMBLE: request(ENSEMBLE, ENCODED, (1, 1), len(file).to_bytes(4, "little") + file),
    }
    with (
        LocalServer(repository, use_free_ports=True) as server,
        tqdm(desc="overload", unit="point", file=sys.stderr) as bar,
    ):
        points = []
        for model, message in messages.items():
            for point in _points(server.grpc_url, model, message):
                points.append(point)
                bar.update()
        return points


def _points(url: str, model: str, message: bytes) -> Iterator[Point]:
    rate, peak = FIRST_RATE, 0.0
    while True:
        point = _point(url, model, message, rate, DEADLINES[0])
        yield point
        if point.offered.goodput < 1.2 * peak:
            break
        peak, rate = max(peak, point.offered.goodput), 2 * rate
    for times in TOO_MUCH:
        for deadline in DEADLINES:
            yield _point(url, model, message, times * peak, deadline)


def _point(url: str, model: str, message: bytes, rate: float, deadline: float) -> Point:
    mine, before, started = psutil.Process(), psutil.Process().cpu_times(), time.monotonic()
    offered = offer(url, message, rate, SECONDS, deadline)
    after, wall = mine.cpu_times(), time.monotonic() - started
    cores = (after.user + after.system - before.user - before.system) / wall
    return Point(model, deadline, offered, cores)


def as_table(points: list[Point]) -> str:
    """Every point; its goodput, and that for each core that the generator left, by the model's best."""
    all_cores = psutil.cpu_count() or 1
    lines = [
        f"{'model':14}{'offered/s':>10}{'deadline s':>11}{'in time/s':>10}{'of peak':>9}{'a core':>9}{'p99 ms':>8}"
    ]
    for point in points:
        same = [each for each in points if each.model == point.model]
        best = max(same, key=lambda each: each.offered.goodput)
        share = point.offered.goodput / max(best.offered.goodput, 1e-9)
        a_core = share * (all_cores - best.cores) / max(all_cores - point.cores, 1e-9)
        p99 = np.percentile(point.offered.latencies, 99) * 1000 if len(point.offered.latencies) else float("nan")
        lines.append(
            f"{point.model:14}{point.offered.rate:10.0f}{point.deadline:11g}{point.offered.goodput:10.0f}"
            f"{share:9.2f}{a_core:9.2f}{p99:8.0f}"
        )
    return "\n".join(lines)
