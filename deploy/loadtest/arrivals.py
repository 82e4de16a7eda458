"""When requests come: at random, evenly or in bursts, at a rate that may change."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from deploy.loadtest.loadtest_error import LoadTestError

#: Seconds from the start, and requests a second then; in between the rate changes evenly.
Profile = Sequence[tuple[float, float]]


def steady(rate: float, seconds: float) -> Profile:
    """The same rate throughout."""
    return ((0.0, rate), (seconds, rate))


def ramp(first: float, last: float, seconds: float) -> Profile:
    """From the one rate to the other, evenly."""
    return ((0.0, first), (seconds, last))


def spike(rate: float, height: float, seconds: float) -> Profile:
    """``height`` times the rate in the middle fifth."""
    first, last = 0.4 * seconds, 0.6 * seconds
    return ((0.0, rate), (first, rate), (first, height * rate), (last, height * rate), (last, rate), (seconds, rate))


def arrivals(profile: Profile, burstiness: float = 1.0, seed: int = 0) -> NDArray[np.float64]:
    """Seconds from the start at which requests are due, ascending.

    Args:
        burstiness: coefficient of variation of the gaps between requests, whose lengths have a gamma distribution: 1 is
            a Poisson process, 0 an even beat, more comes in bursts.

    Raises:
        LoadTestError: there is no such profile.
    """
    times, rates = np.array(profile, np.float64).reshape(-1, 2).T
    if len(times) < 2 or (np.diff(times) < 0).any() or not (np.isfinite(rates) & (rates >= 0)).all() or times[0] != 0:
        raise LoadTestError(f"got the profile {list(profile)}: want (seconds, rate) from 0 on, ascending, none below 0")
    if burstiness < 0:
        raise LoadTestError(f"burstiness is {burstiness}: want 0 for an even beat, 1 for Poisson, more for bursts")
    # The number of requests that should have come by each corner; a steady process is bent so that it follows it
    # (Çınlar 1975, time-change of a renewal process).
    expected = np.concatenate([[0.0], np.cumsum(np.diff(times) * (rates[1:] + rates[:-1]) / 2)])
    due = _unit(expected[-1], burstiness, np.random.default_rng(seed))
    return _inverse(due, times, rates, expected)


def _unit(total: float, burstiness: float, random: np.random.Generator) -> NDArray[np.float64]:
    """A process of one request a second, until ``total``."""
    if burstiness == 0:
        return np.arange(0.5, total)
    shape = 1 / burstiness**2
    count = int(total + 10 * burstiness * np.sqrt(total) + 100)
    due: NDArray[np.float64] = np.cumsum(random.gamma(shape, 1 / shape, count))
    before: NDArray[np.float64] = due[due < total]
    return before


def _inverse(
    due: NDArray[np.float64], times: NDArray[np.float64], rates: NDArray[np.float64], expected: NDArray[np.float64]
) -> NDArray[np.float64]:
    """When that many have come, where between two corners the rate is a straight line."""
    part = np.clip(np.searchsorted(expected, due, side="right") - 1, 0, len(times) - 2)
    length = np.diff(times)[part]
    slope = np.divide(np.diff(rates)[part], length, out=np.zeros_like(due), where=length > 0)
    rate, missing = rates[part], due - expected[part]
    # missing = rate * t + slope / 2 * t^2, in the form that does not cancel where the slope is small.
    root = np.sqrt(np.maximum(rate**2 + 2 * slope * missing, 0))
    found: NDArray[np.float64] = times[part] + 2 * missing / (rate + root)
    return found
