"""Latencies of a run as HDR histograms, one for each slice of its time: small, mergeable, and readable by other tools.

Gil Tene's HdrHistogram keeps three digits of every value, and histograms of parts add up to that of the whole without
loss. The encoding is its own (V2, compressed, base64), which its ports to other languages and its plotters read too.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

import numpy as np
from hdrh.histogram import HdrHistogram
from numpy.typing import NDArray

from deploy.loadtest.open_loop import Outcome

#: Microseconds: what the histograms tell apart, at least and at most, with so many digits.
SHORTEST, LONGEST, DIGITS = 1, 3_600_000_000, 3
#: Of a run.
SLICES = 50


@dataclass(frozen=True)
class Latency:
    """What requests took, by when they were due."""

    slice_seconds: float
    #: Each slice's HdrHistogram of those that were answered: microseconds, encoded.
    slices: tuple[str, ...]
    #: Each slice's requests that were not answered.
    unanswered: tuple[int, ...]

    @classmethod
    def of(cls, outcome: Outcome) -> Latency:
        """Cut a run into :data:`SLICES`."""
        length = max(outcome.seconds, 1e-6) / SLICES
        place = np.minimum((outcome.due / length).astype(np.intp), SLICES - 1)
        slices = [
            _histogram(outcome.latency[(place == number) & outcome.answered]).encode().decode()
            for number in range(SLICES)
        ]
        unanswered = np.bincount(place[~outcome.answered], minlength=SLICES)
        return cls(length, tuple(slices), tuple(map(int, unanswered)))

    def parts(self) -> list[tuple[NDArray[np.float64], NDArray[np.int64]]]:
        """Each slice's distinct latencies in seconds, ascending, and how many requests took each."""
        return [values(HdrHistogram.decode(each)) for each in self.slices]

    def whole(self) -> HdrHistogram:
        """Of all that were answered, in microseconds."""
        return merged(HdrHistogram.decode(each) for each in self.slices)


def merged(histograms: Iterable[HdrHistogram]) -> HdrHistogram:
    """The sum of histograms."""
    total = HdrHistogram(SHORTEST, LONGEST, DIGITS)
    for each in histograms:
        total.add(each)
    return total


def _histogram(seconds: NDArray[np.float64]) -> HdrHistogram:
    found = HdrHistogram(SHORTEST, LONGEST, DIGITS)
    for value in np.clip(np.rint(1e6 * seconds), SHORTEST, LONGEST).astype(np.int64).tolist():
        found.record_value(value)
    return found


def values(histogram: HdrHistogram) -> tuple[NDArray[np.float64], NDArray[np.int64]]:
    """Distinct values in seconds, ascending, and how often each was counted.

    The package's own iterators walk every empty place in Python: a second for a slow run.
    """
    counts = np.ctypeslib.as_array(histogram.counts).astype(np.int64)
    (filled,) = counts.nonzero()
    seconds = [histogram.get_value_from_index(place) / 1e6 for place in filled.tolist()]
    return np.array(seconds), counts[filled]
