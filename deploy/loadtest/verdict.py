"""Whether a run says what it seems to say. A figure of an invalid run is not a figure."""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np

from deploy.loadtest.open_loop import OK, Outcome

#: Requests that a 99th percentile needs, so that five lie beyond it; LoadGen's own Server scenario wants as many.
FEWEST = 500
#: Of the target: what the generator itself may have added, in its 99th percentile. It is part of the latencies, so that
#: it makes a server look worse, never better.
LAG = 0.2
#: Cores of a process of the generator.
BUSY = 0.9
#: Share of requests that may fail for other reasons than the server's load.
FAILED = 0.001
#: The median of the last quarter over that of the first: more, and the queue may grow with the run.
GROWTH = 2.0
#: Of the target: a median below is too small to grow.
TELLING = 0.1


@dataclass(frozen=True)
class Verdict:
    """Reasons; none is a good sign."""

    #: Why the run tells nothing: the generator's fault, or too little.
    invalid: tuple[str, ...]
    #: Why the server did not keep the target.
    missed: tuple[str, ...]
    #: How many times latency grew during the run, where that is too much; 0 where not. A queue that grows without bound
    #: does so again, a neighbour's noise does not: one run alone does not tell them apart.
    growth: float = 0.0

    @property
    def kept(self) -> bool:
        """Whether the run counts, and the server kept the target."""
        return not self.invalid and not self.missed and not self.growth

    def __str__(self) -> str:
        if self.invalid:
            return f"INVALID: {'; '.join(self.invalid)}"
        if self.missed:
            return f"missed: {'; '.join(self.missed)}"
        if self.growth:
            return f"cannot tell: latency grew {_times(self.growth)}: run it again, a queue without bound does so again"
        return "VALID"

    def after(self, growth: float) -> Verdict:
        """The same of a run after one, at the same rate, in which latency had grown as well."""
        grows = f"latency grows without bound: {_times(self.growth)}, and {growth:.1f} times in a run before"
        return replace(self, missed=(*self.missed, grows))


def judge(outcome: Outcome, p99: float, *, level: bool = True) -> Verdict:
    """Against a target for the 99th percentile, in seconds.

    Args:
        level: whether the run ended at the rate at which it began: if not, latency may grow or fall with it.
    """
    invalid: list[str] = []
    if len(outcome.due) < FEWEST:
        invalid.append(f"{len(outcome.due)} requests, want {FEWEST}: run it longer")
    lag = float(np.percentile(outcome.lag, 99)) if len(outcome.lag) else 0.0
    if lag > LAG * p99:
        invalid.append(
            f"the generator was late by {1000 * lag:.0f} ms (p99): give it more processes, or a machine of its own"
        )
    if outcome.cores > BUSY:
        invalid.append(f"a process of the generator used {outcome.cores:.2f} of a core: give it more processes")
    missed: list[str] = []
    failed = int((~outcome.answered).sum())
    if failed > FAILED * len(outcome.due):
        why = ", ".join(f"{count} {status}" for status, count in outcome.statuses.items() if status != OK)
        missed.append(f"{100 * failed / len(outcome.due):.1f} % without an answer ({why})")
    if (got := outcome.percentile(99)) > p99:
        missed.append(f"p99 {1000 * got:.0f} ms")
    grew = drift(outcome) if level and outcome.percentile(50) > TELLING * p99 else 0.0
    return Verdict(tuple(invalid), tuple(missed), grew if grew > GROWTH else 0.0)


def _times(growth: float) -> str:
    return f"{growth:.1f} times from the first quarter to the last"


def drift(outcome: Outcome) -> float:
    """The median latency of the last quarter of the run over that of the first; 1 if nothing was answered."""
    if not outcome.answered.any():
        return 1.0
    quarter = outcome.seconds / 4
    first = outcome.latency[outcome.answered & (outcome.due <= quarter)]
    last = outcome.latency[outcome.answered & (outcome.due >= 3 * quarter)]
    return float(np.median(last) / np.median(first)) if len(first) and len(last) else 1.0
