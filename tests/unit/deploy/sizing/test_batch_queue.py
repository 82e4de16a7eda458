"""The chain against M/D/1's closed forms, and against the simulation, which knows nothing of it."""

from __future__ import annotations

import math

import numpy as np
import pytest

from deploy.sizing.batch_queue import highest_rate, latencies, percentile
from deploy.sizing.service import Service
from deploy.sizing.simulation import simulate
from deploy.sizing.sizing_error import SizingError

ONE = Service(batch=0.0, image=1.0, largest=1)


def waits_at_most(rate: float, seconds: float) -> float:
    """P(W <= t) of M/D/1 with a service of 1 s (Erlang 1909; Fry 1928)."""
    return (1 - rate) * math.fsum(
        (rate * (k - seconds)) ** k / math.factorial(k) * math.exp(-rate * (k - seconds))
        for k in range(int(seconds) + 1)
    )


@pytest.mark.parametrize("rate", [0.3, 0.6, 0.8])
def test_batches_of_one_are_m_d_1(rate: float) -> None:
    took = latencies(ONE, rate)
    assert took.mean() == pytest.approx(1 + rate / (2 * (1 - rate)), rel=0.01)
    for percent in (50, 90, 99):
        wait = percentile(ONE, rate, percent) - 1
        assert waits_at_most(rate, wait) == pytest.approx(percent / 100, abs=0.003) or (wait == 0 and rate < 0.5)


@pytest.mark.parametrize(
    ("service", "rate"),
    [
        (Service(0.010, 0.001, 32), 200.0),
        (Service(0.010, 0.001, 32), 600.0),
        (Service(0.010, 0.001, 8), 350.0),
        (Service(0.0, 0.010, 16), 60.0),
        (Service(0.020, 0.0, 64), 100.0),
    ],
    ids=["light", "heavy", "full batches", "no gain from batches", "batches for nothing"],
)
def test_the_simulation_agrees(service: Service, rate: float) -> None:
    theory, simulated = latencies(service, rate), simulate(service, rate, 12_000, seed=1)
    assert simulated.mean() == pytest.approx(theory.mean(), rel=0.05)
    assert np.percentile(simulated, 99) == pytest.approx(np.percentile(theory, 99), rel=0.1)


def test_the_highest_rate_is_where_the_target_is_met() -> None:
    service = Service(0.010, 0.001, 32)
    rate = highest_rate(service, 0.080)
    assert percentile(service, rate, 99) <= 0.080 < percentile(service, 1.02 * rate, 99)
    assert highest_rate(service, 0.010) == 0


@pytest.mark.parametrize("rate", [0.0, -1.0, 0.99, 2.0, math.nan])
def test_what_a_replica_cannot_do_is_refused(rate: float) -> None:
    with pytest.raises(SizingError, match="1 at most"):
        latencies(ONE, rate)
    with pytest.raises(SizingError, match="99th percentile of 0 s"):
        highest_rate(ONE, 0.0)
