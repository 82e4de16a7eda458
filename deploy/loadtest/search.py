"""The highest rate at which the 99th percentile stays under a target."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass

from deploy.loadtest.loadtest_error import LoadTestError
from deploy.loadtest.open_loop import Outcome
from deploy.loadtest.verdict import Verdict, judge

#: How close two rates are, the one kept and the other not, that are taken for one.
CLOSE = 1.05
#: Runs at the rate that is found, all of which have to keep the target; if not, it is lowered by as much. As many tell
#: one server from another: of four and four runs of the same, all four are the better ones once in 70 times; of three
#: and three once in 20.
REPEATS, LOWER = 4, 0.95
#: Runs that a search usually takes: until the target is missed, to narrow that down, and to confirm what is found.
USUAL = 4 + 4 + REPEATS
#: Attempts to find one that is kept again.
PATIENCE = 20
#: Runs that may be invalid in a row: a machine has its moments.
MOMENTS = 3


@dataclass(frozen=True)
class Run:
    """One rate, and what came of it."""

    #: Requests a second.
    rate: float
    outcome: Outcome
    verdict: Verdict
    #: Whether it is one of those that confirm the rate.
    confirms: bool = False


@dataclass(frozen=True)
class Search:
    """What was tried, and found."""

    p99: float
    runs: list[Run]
    #: Requests a second; 0 if none was kept.
    rate: float
    #: Whether it came to its end.
    ended: bool = True

    @property
    def confirmed(self) -> list[Run]:
        """The runs at the rate that was found."""
        return [run for run in self.runs if run.confirms and run.rate == self.rate]


def search(
    offer: Callable[[float], Outcome],
    p99: float,
    first: float,
    heard: Callable[[Search], None],
    *,
    close: float = CLOSE,
    repeats: int = REPEATS,
) -> Search:
    """Double the rate until the target is missed, narrow it down, and run it again.

    Args:
        offer: runs so many requests a second.
        p99: seconds.
        first: rate to begin with.
        heard: told what was tried so far, whenever a run has ended.
        close: as :data:`CLOSE`.
        repeats: runs that confirm it.

    Raises:
        LoadTestError: runs are invalid, so the generator is at its limits before the server.
    """
    runs: list[Run] = []
    keeps = _judged(offer, p99, heard, runs)
    low, high = _bracket(keeps, first)
    while low and high / low > close:
        middle = math.sqrt(low * high)
        low, high = (middle, high) if keeps(middle, False) else (low, middle)
    for _ in range(PATIENCE if low else 0):
        if all(keeps(low, True) for _ in range(repeats)):
            return Search(p99, runs, low)
        low *= LOWER
    return Search(p99, runs, 0.0)


def confirm(
    offer: Callable[[float], Outcome],
    p99: float,
    rate: float,
    heard: Callable[[Search], None],
    *,
    repeats: int = REPEATS,
) -> Search:
    """Whether a given rate is kept, each time; takes, returns and raises what :func:`search` does.

    All runs are made, also after one that misses: they can be compared with others.
    """
    runs: list[Run] = []
    keeps = _judged(offer, p99, heard, runs)
    kept = [keeps(rate, True) for _ in range(repeats)]
    return Search(p99, runs, rate if all(kept) else 0.0)


def _judged(
    offer: Callable[[float], Outcome], p99: float, heard: Callable[[Search], None], runs: list[Run]
) -> Callable[[float, bool], bool]:
    """Tells whether a rate is kept, and whether it is asked to confirm it; each run is noted in ``runs``."""

    def keeps(rate: float, confirms: bool) -> bool:
        grew = 0.0
        for _ in range(MOMENTS):
            outcome = offer(rate)
            verdict = judge(outcome, p99)
            if verdict.growth and not verdict.invalid:
                verdict = verdict.after(grew) if grew else verdict
                grew = verdict.growth
            runs.append(Run(rate, outcome, verdict, confirms))
            heard(Search(p99, runs, 0.0, ended=False))
            if verdict.kept or verdict.missed:
                return verdict.kept
        raise LoadTestError(f"at {rate:.0f} requests a second, {MOMENTS} times in a row: {verdict}")

    return keeps


def _bracket(keeps: Callable[[float, bool], bool], first: float) -> tuple[float, float]:
    """A rate that is kept and one that is not, 2 times as high; 0 and some rate if none is."""
    if keeps(first, False):
        low = first
        while keeps(2 * low, False):
            low *= 2
        return low, 2 * low
    high = first
    while high > first / 64:
        high /= 2
        if keeps(high, False):
            return high, 2 * high
    return 0.0, high
