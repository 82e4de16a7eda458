"""Whether a server has become slower: the rate at which the 99th percentile passes the target, with its uncertainty.

A search's rate is the luck of a few runs. Here every valid run near the target says by itself where it is passed: its
rate, moved along the slope that all runs have in common (Theil and Sen's, of log p99 over log rate). The estimate is
their geometric mean, and its interval a bootstrap over runs, which are what differs between measurements of the same
server; requests of one run are not independent (Georges et al., "Statistically rigorous Java performance evaluation",
2007; Kalibera and Jones, "Rigorous benchmarking in reasonable time", 2013).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from statistics import median

import numpy as np
from numpy.typing import NDArray

from deploy.loadtest.load_report import LoadReport, ModelReport, RunReport
from deploy.loadtest.loadtest_error import LoadTestError
from deploy.loadtest.search import CLOSE, REPEATS

#: Of the bootstrap: resamples, and the share of them that an interval holds; with few runs intervals are too narrow
#: (Hesterberg, "What teachers should know about the bootstrap", 2015), so it is not 95 %.
RESAMPLES, CONFIDENCE = 10_000, 0.99
#: Times the target, either way, that are near it; of :data:`REPEATS` runs it does not matter how far.
NEAR = 3.0
#: Times the target that no answer is worth, and a share of such that makes a 99th percentile.
WORST, LOST = 10.0, 0.01

REGRESSION, IMPROVEMENT, NOISE = "regression", "improvement", "within noise"


@dataclass(frozen=True)
class Change:
    """One model, then and now; rates are requests a second."""

    old: ModelReport
    new: ModelReport
    #: At which the 99th percentile passes the target.
    rates: tuple[float, float]
    #: Of the new over the old, and the ends of its interval.
    ratio: float
    low: float
    high: float

    @property
    def verdict(self) -> str:
        """Beyond noise is what the interval excludes, and is more than the search tells apart."""
        if self.high < 1 and self.ratio < 1 / CLOSE:
            return REGRESSION
        return IMPROVEMENT if self.low > 1 and self.ratio > CLOSE else NOISE

    def __str__(self) -> str:
        return (
            f"{self.new.model}: {self.verdict}. The rate at the target is {self.ratio:.2f} times the old "
            f"({100 * CONFIDENCE:.0f} % interval {self.low:.2f} to {self.high:.2f})."
        )


def compare(old: LoadReport, new: LoadReport, *, anyway: bool = False) -> list[Change]:
    """Every model that both have.

    Args:
        anyway: also what cannot be compared, of different machines or targets.

    Raises:
        LoadTestError: they cannot be compared, have no model in common, or hardly a valid run.
    """
    pairs = [(then, now) for then in old.models for now in new.models if then.model == now.model]
    if not pairs:
        models = [", ".join(each.model for each in report.models) or "none" for report in (old, new)]
        raise LoadTestError(f"the one is of {models[0]}, the other of {models[1]}: want a model in common")
    if not anyway:
        _check(old, new, pairs)
    return [_change(then, now) for then, now in pairs]


def _check(old: LoadReport, new: LoadReport, pairs: Sequence[tuple[ModelReport, ModelReport]]) -> None:
    hint = "a difference would say nothing of the server; --anyway compares all the same"
    if old.machine != new.machine or old.server.started != new.server.started:
        one, other = (
            f"{report.machine.processor}, {report.machine.cores} cores, "
            f"{'server beside it' if report.server.started else 'server elsewhere'}"
            for report in (old, new)
        )
        raise LoadTestError(f"the one is of {one}, the other of {other}: {hint}")
    for then, now in pairs:
        targets = [1000 * each.p99_target_seconds for each in (then, now)]
        if round(targets[0], 1) != round(targets[1], 1):
            raise LoadTestError(f"{now.model}'s p99 had to be under {targets[0]:.1f} and {targets[1]:.1f} ms: {hint}")


def _change(old: ModelReport, new: ModelReport) -> Change:
    told = [_told(each) for each in (old, new)]
    rise = _slope(np.concatenate(told))
    random = np.random.default_rng(0)
    means, drawn = [], []
    for runs in told:
        passing = _passing(runs, rise)
        means.append(passing.mean())
        drawn.append(random.choice(passing, (RESAMPLES, len(passing))).mean(axis=1))
    ends = 100 * (1 - CONFIDENCE) / 2
    low, high = map(float, np.exp(np.percentile(drawn[1] - drawn[0], (ends, 100 - ends))))
    then, now = (float(np.exp(mean)) for mean in means)
    return Change(old, new, (then, now), now / then, low, high)


def _told(model: ModelReport) -> NDArray[np.float64]:
    """Of every valid run the logarithms of its rate, and of its 99th percentile over the target; nearest first."""
    every = [*model.runs, *([model.beyond] if model.beyond else [])]
    runs = [run for run in every if not run.verdict.invalid]
    if len(runs) < REPEATS:
        raise LoadTestError(
            f"{model.model} has {len(runs)} valid runs, want {REPEATS}: measure it again, with `load` or `load --rate`"
        )
    told = np.log(
        [[run.offered, _p99(run, WORST * model.p99_target_seconds) / model.p99_target_seconds] for run in runs]
    )
    nearest: NDArray[np.float64] = told[np.argsort(np.abs(told[:, 1]), kind="stable")]
    return nearest


def _p99(run: RunReport, worst: float) -> float:
    """In seconds, where no answer is ``worst``, and nothing is worse."""
    lost = sum(run.latency.unanswered) > LOST * sum(run.statuses.values())
    return worst if lost or run.p99_seconds is None else min(run.p99_seconds, worst)


def _slope(told: NDArray[np.float64]) -> float:
    """The median of the slopes between any two; more load is not quicker, so it is 1 at least."""
    first, second = np.triu_indices(len(told), 1)
    across, up = (told[second] - told[first]).T
    apart = np.abs(across) > np.log(CLOSE)
    return max(1.0, float(np.median(up[apart] / across[apart]))) if apart.any() else 1.0


def _passing(told: NDArray[np.float64], rise: float) -> NDArray[np.float64]:
    """Logarithms of the rates at which each run near the target would have been on it."""
    near = told[: max(REPEATS, int((np.abs(told[:, 1]) <= np.log(NEAR)).sum()))]
    return near[:, 0] - near[:, 1] / rise


def as_table(changes: Sequence[Change]) -> str:
    """Figures that decide, and those that only tell."""
    lines = [f"{'model':14}{'':34}{'old':>9}{'new':>9}{'new/old':>9}   {100 * CONFIDENCE:.0f} % interval   verdict"]
    for change in changes:
        old, new = change.old, change.new
        then, now = change.rates
        lines.append(
            f"{new.model:14}{'p99 passes the target at, /s':34}{then:9.1f}{now:9.1f}{change.ratio:9.2f}   "
            f"{change.low:6.2f} to {change.high:4.2f}   {change.verdict}"
        )
        lines += [
            f"{'':14}{name:34}{_figure(before)}{_figure(after)}{_figure(before and after and after / before, '.2f')}"
            for name, before, after in (
                ("highest rate confirmed, /s", old.rate, new.rate),
                ("p50 at that rate, ms", _middle(old, "p50_seconds"), _middle(new, "p50_seconds")),
                ("p99 at that rate, ms", _middle(old, "p99_seconds"), _middle(new, "p99_seconds")),
                ("one request alone, ms", 1000 * old.alone_seconds, 1000 * new.alone_seconds),
            )
        ]
    return "\n".join(lines)


def _middle(model: ModelReport, name: str) -> float:
    middle: float = median([getattr(run, name) for run in model.confirmed] or [0.0])
    return 1000 * middle


def _figure(value: float, form: str = ".1f") -> str:
    return f"{format(value, form) if value else '-':>9}"
