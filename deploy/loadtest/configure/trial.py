"""What was seen of each candidate, and whether any is better than what is published."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from statistics import median
from typing import Any

from deploy.loadtest.configure.candidate import FIXED, Candidate, diff

#: A gain that is worth a change; less is within what a search tells apart.
MATTERS = 1.05
#: Rounds of a candidate that count, after the one that it was chosen by: the best of several owes part of that to luck.
#: Of two equals, one has the better three of three and four in one of 35 cases.
ROUNDS = 3
#: The best round of the published configuration over its worst: where it is more, others use the machine, and a rate
#: says when it was measured rather than of what.
STEADY = 1.25


@dataclass(slots=True)
class Trial:
    """One candidate."""

    candidate: Candidate
    #: Of each round: the highest rate that kept the target, requests a second; 0 where none did.
    rates: list[float] = field(default_factory=list)
    #: Why it does not count: other answers, or no measurement.
    refused: str = ""

    @property
    def rate(self) -> float:
        """The median."""
        return median(self.rates) if self.rates and not self.refused else 0.0


@dataclass(frozen=True, slots=True)
class Choice:
    """What came of it."""

    model: str
    #: The published configuration, and the target in seconds; of ``published`` there is a rate.
    config: str
    p99: float
    published: Trial
    others: Sequence[Trial]
    #: Why there are not as many rounds as there should be.
    unsure: str = ""

    @property
    def best(self) -> Trial | None:
        """The best of the others; None where none counts."""
        return max((trial for trial in self.others if trial.rate), key=lambda trial: trial.rate, default=None)

    @property
    def steady(self) -> bool:
        """Whether the published configuration comes to about the same each time."""
        return max(self.published.rates) <= STEADY * min(self.published.rates)

    @property
    def winner(self) -> Trial | None:
        """The best of the others if it wins beyond noise; None: keep what is published.

        Each of its rounds, but the one that it was chosen by, beats each of the published one's, and the median by what
        matters.
        """
        best, present = self.best, self.published
        again = best.rates[1:] if best else []
        if best is None or min(len(again), len(present.rates) - 1) < ROUNDS or not self.steady:
            return None
        return best if min(again) > max(present.rates) and median(again) >= MATTERS * present.rate else None

    def __str__(self) -> str:
        """A table, a verdict, and the diff where there is one; then what was not searched."""
        lines = [f"{self.model}, p99 under {1000 * self.p99:.0f} ms"]
        lines += [f"{'delay µs':>9}{'instances':>11}{'rate /s':>9}  rounds"]
        for trial in (self.published, *self.others):
            rounds = trial.refused or " ".join(f"{rate:.0f}" for rate in trial.rates)
            mark = "  (published)" if trial is self.published else ""
            lines.append(f"{trial.candidate.delay:9}{trial.candidate.instances:11}{trial.rate:9.1f}  {rounds}{mark}")
        lines += ["", self.verdict]
        if self.winner:
            lines += ["", diff(self.config, self.winner.candidate, f"{self.model}/config.pbtxt")]
        return "\n".join([*lines, "", "not searched:", *(f"  {name}: {why}" for name, why in FIXED.items())])

    @property
    def verdict(self) -> str:
        """In a sentence."""
        if self.winner:
            gain = median(self.winner.rates[1:]) / self.published.rate
            return f"change to {self.winner.candidate}: {100 * (gain - 1):+.0f} %, better in every round"
        if self.best is None:
            return "keep what is published: no other counts"
        return (
            f"keep what is published: {self.best.candidate} is the best other, "
            f"{_span(self.best.rates)} /s where the published one has {_span(self.published.rates)}"
            f"{'' if self.steady else '; it is not steady, so others use the machine and nothing can be told'}"
            f"{self.unsure and f'; {self.unsure}'}"
        )

    def as_json(self) -> dict[str, Any]:
        """Everything."""
        rows = [
            {"delay_us": t.candidate.delay, "instances": t.candidate.instances, "rates": t.rates, "refused": t.refused}
            for t in (self.published, *self.others)
        ]
        return {
            "model": self.model,
            "p99_target_seconds": self.p99,
            "published": rows[0],
            "others": rows[1:],
            "verdict": self.verdict,
            "diff": diff(self.config, self.winner.candidate, "config.pbtxt") if self.winner else "",
        }


def _span(rates: Sequence[float]) -> str:
    return f"{min(rates, default=0):.0f} to {max(rates, default=0):.0f}"
