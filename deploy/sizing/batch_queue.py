"""One replica as a queue: Poisson arrivals, batches of all that wait up to a bound, fixed seconds by batch size.

That is bulk service (Bailey, "On queueing processes with bulk service", JRSS B 16, 1954), with one difference: a
replica has two instances that take turns (``deploy/backends/turns.py``), and Triton binds a batch to the free one while
the other computes. So a batch is what waited when the one *before it* began; and where nothing waited then, it is the
next request alone. The chain of (images in the batch that begins, requests that then wait unbound) has Poisson
transitions and is solved by repeated steps; a request meets it as time does (PASTA, Wolff 1982). With batches of one it
is M/D/1, whose closed forms the tests have.

Assumed: fixed service times; requests of one image; Triton's 1 ms for company, transport and the door are outside of it
(they are in what one request alone is measured to take).
"""

from __future__ import annotations

import math

import numpy as np
from numpy.typing import NDArray

from deploy.sizing.service import Service
from deploy.sizing.sizing_error import SizingError

Array = NDArray[np.float64]
#: Probability that is not followed further; change of a step that ends them, and their number.
SMALL, STEPS = 1e-6, 20_000
#: Share of the capacity above which nothing is computed: the queue forgets too slowly.
MOST = 0.9
#: Requests that are drawn from the chain's stationary states: a 99th percentile that is good to half a percent.
DRAWN = 100_000


def latencies(service: Service, rate: float, seed: int = 0) -> Array:
    """Seconds from arrival to the end of its batch, of requests to a replica that is sent so many a second.

    Raises:
        SizingError: that is over :data:`MOST` of what it can do.
    """
    if not 0 < rate <= MOST * service.capacity:
        raise SizingError(
            f"{rate:g} a second to a replica that does {service.capacity:g} at most: "
            f"want more than 0, and no more than {MOST:g} of that"
        )
    states, largest, random = _stationary(service, rate), service.largest, np.random.default_rng(seed)
    seconds = np.asarray(service.seconds(np.arange(1.0, largest + 1)))
    # Of the requests to come, by state: those during the service, and the one that finds the replica idle after it.
    during = states * (rate * seconds)[:, None]
    idle = float(states[:, 0] @ np.exp(-rate * seconds))
    place = np.searchsorted(np.cumsum(during), during.sum() * (np.arange(DRAWN) + 0.5) / DRAWN)
    size, waiting = np.divmod(np.minimum(place, during.size - 1), states.shape[1])
    own = seconds[size]
    rest = own * random.random(DRAWN)
    before, after = random.poisson(rate * (own - rest)), random.poisson(rate * rest)
    bound = np.clip(waiting, 1, largest)
    ahead = waiting - bound + before  # of it in the queue; -1: nothing was bound, so it is itself
    batches = np.maximum(ahead, 0) // largest
    together = np.minimum(ahead + 1 + after - batches * largest, largest)
    took = rest + seconds[bound - 1]
    took += np.where(ahead < 0, 0.0, batches * seconds[-1] + seconds[np.maximum(together, 1) - 1])
    alone = np.full(round(DRAWN * idle / float(during.sum())), seconds[0])
    return np.concatenate([took, alone])


def percentile(service: Service, rate: float, percent: float) -> float:
    """Seconds that so many percent of requests stay under.

    Raises:
        SizingError: the rate is over :data:`MOST` of what it can do.
    """
    return float(np.percentile(latencies(service, rate), percent))


def _stationary(service: Service, rate: float) -> Array:
    """Probability of [images in the batch that begins - 1, requests that then wait unbound]."""
    largest = service.largest
    work = rate * np.asarray(service.seconds(np.arange(1.0, largest + 1)))
    width = _reach(float(work[-1])) + largest + math.ceil(12 / (1 - rate / service.capacity))
    coming = _poisson(work, width)
    states = np.zeros((largest, width))
    states[0, 0] = 1.0
    for _ in range(STEPS):
        following = np.zeros_like(states)
        bound = states[:, 1 : largest + 1]
        following[: bound.shape[1]] = bound.T @ coming
        alone = states[:, 0]
        following[0, 0] += alone @ coming[:, 0]
        following[0, :-1] += alone @ coming[:, 1:]
        more = states[:, largest + 1 :]
        for size in np.flatnonzero(more.sum(axis=1) > SMALL):
            summed = np.convolve(more[size], coming[size])[: width - 1]
            following[-1, 1 : 1 + len(summed)] += summed
        following /= following.sum()
        change = float(np.abs(following - states).sum())
        states = following
        if change < SMALL:
            break
    return states


def _reach(mean: float) -> int:
    """A number that a Poisson variable does not exceed."""
    return math.ceil(mean + 8 * math.sqrt(mean) + 8)


def _poisson(means: Array, width: int) -> Array:
    """Probability of [mean, number below ``width``]."""
    numbers = np.arange(width)
    logs = np.concatenate([[0.0], np.cumsum(np.log(np.arange(1.0, width)))])
    chances: Array = np.exp(numbers * np.log(means[:, None]) - means[:, None] - logs)
    return chances


def highest_rate(service: Service, p99: float, most: float = math.inf) -> float:
    """Requests a second, up to ``most``, whose 99th percentile is that many seconds; 0 if one alone takes longer.

    Raises:
        SizingError: the target is none.
    """
    if p99 <= 0:
        raise SizingError(f"a 99th percentile of {p99:g} s: want more than 0")
    if p99 <= service.seconds(1.0):
        return 0.0
    low, high = 0.0, min(most, MOST * service.capacity)
    if high == most and percentile(service, most, 99) <= p99:
        return most
    while high - low > 0.002 * service.capacity:
        rate = (low + high) / 2
        low, high = (rate, high) if percentile(service, rate, 99) <= p99 else (low, rate)
    return low
