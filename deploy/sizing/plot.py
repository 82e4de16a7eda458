"""From one replica to a thousand: what they do under the target, by theory and by simulation."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import matplotlib as mpl
import matplotlib.pyplot as plt
import numpy as np

from alexnet_client.files import atomic_path
from deploy.sizing.batch_queue import percentile
from deploy.sizing.plan import Plan, Target
from deploy.sizing.replica import Replica
from deploy.sizing.simulation import simulate

REPLICAS = (1, 3, 10, 30, 100, 300, 1000)
#: Requests a simulation: so many a replica, and as many in all.
EACH, LEAST = 250, 40_000


@dataclass(frozen=True)
class Point:
    """So many replicas at the rate that keeps the target by theory, and their 99th percentiles in seconds."""

    replicas: int
    rate: float
    theory: float
    random: float
    two: float


def curve(replica: Replica, p99: float, counts: Sequence[int] = REPLICAS) -> list[Point]:
    """What so many replicas do.

    Raises:
        SizingError: no number of replicas keeps the target.
    """
    each = replica.rate_under(p99)
    theory = percentile(replica.service, each, 99)

    def simulated(count: int, choices: int) -> float:
        took = simulate(replica.service, count * each, max(EACH * count, LEAST), replicas=count, choices=choices)
        return float(np.percentile(took, 99)) + replica.overhead

    return [
        Point(count, count * each, theory + replica.overhead, simulated(count, 1), simulated(count, 2))
        for count in counts
    ]


def draw(points: Sequence[Point], target: Target, found: Plan, folder: Path) -> Path:
    """Two charts in one PNG: requests a second, and the 99th percentile; returns where it is."""
    mpl.use("agg")
    counts = [point.replicas for point in points]
    figure, (rates, percentiles) = plt.subplots(1, 2, figsize=(10, 4), layout="constrained")
    rates.loglog(counts, [point.rate for point in points], marker="o")
    rates.axhline(target.rate, linestyle=":", color="grey")
    rates.set(xlabel="replicas", ylabel=f"requests a second under p99 {1000 * target.p99:g} ms")
    rates.set_title(f"{found.replicas} replicas for {target.rate:,.0f} a second")
    for name, label in (("theory", "theory"), ("random", "simulated, at random"), ("two", "simulated, least of two")):
        percentiles.semilogx(counts, [1000 * getattr(point, name) for point in points], marker="o", label=label)
    percentiles.axhline(1000 * target.p99, linestyle=":", color="grey")
    percentiles.set(xlabel="replicas", ylabel="p99 in ms at that rate", ylim=(0, None))
    percentiles.legend()
    output = folder / "replicas.png"
    with atomic_path(output) as partial:
        figure.savefig(partial, format="png", dpi=120)
    plt.close(figure)
    return output
