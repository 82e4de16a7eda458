"""Arrivals have the rate and the burstiness that they are told, at any shape of load."""

from __future__ import annotations

import numpy as np
import pytest

from deploy.loadtest.arrivals import arrivals, spike, steady
from deploy.loadtest.loadtest_error import LoadTestError


@pytest.mark.parametrize(("burstiness", "gaps"), [(0.0, 0.0), (1.0, 1.0), (3.0, 3.0)])
def test_gaps_vary_as_told(burstiness: float, gaps: float) -> None:
    due = arrivals(steady(200, 500), burstiness)
    assert len(due) == pytest.approx(100_000, rel=0.05)
    assert (np.diff(due) >= 0).all()
    assert 0 <= due[0] <= due[-1] <= 500
    between = np.diff(due)
    assert between.std() / between.mean() == pytest.approx(gaps, abs=0.1)


def test_counts_of_a_poisson_process_are_poissons() -> None:
    """Variance equals mean, in windows of any length."""
    due = arrivals(steady(50, 4000), seed=1)
    for window in (0.1, 1.0):
        counts = np.histogram(due, np.arange(0, 4000, window))[0]
        assert counts.var() / counts.mean() == pytest.approx(1, abs=0.1)


def test_a_rate_that_changes_is_followed() -> None:
    ramp = arrivals([(0, 0), (100, 200)], seed=2)
    assert len(ramp) == pytest.approx(10_000, rel=0.03)
    assert (ramp < 50).mean() == pytest.approx(0.25, abs=0.02)  # the area of a triangle
    crest = arrivals(spike(10, 8, 100), seed=3)
    inside = ((crest > 40) & (crest < 60)).sum()
    assert inside / 20 == pytest.approx(80, rel=0.1)
    assert (len(crest) - inside) / 80 == pytest.approx(10, rel=0.15)
    even = arrivals([(0, 10), (10, 10), (20, 30)], burstiness=0)
    assert len(even) == 300
    np.testing.assert_allclose(np.diff(even)[:99], 0.1)


def test_seeds_tell_runs_apart() -> None:
    np.testing.assert_array_equal(arrivals(steady(10, 10), seed=1), arrivals(steady(10, 10), seed=1))
    assert arrivals(steady(10, 10), seed=1)[0] != arrivals(steady(10, 10), seed=2)[0]


@pytest.mark.parametrize(
    "profile", [[], [(0, 1)], [(1, 1), (2, 1)], [(0, 1), (2, 1), (1, 1)], [(0, -1), (1, 1)], [(0, np.nan), (1, 1)]]
)
def test_a_senseless_profile_is_refused(profile) -> None:
    with pytest.raises(LoadTestError, match="want"):
        arrivals(profile)
    with pytest.raises(LoadTestError, match="burstiness is -1"):
        arrivals(steady(1, 1), -1)
