"""Latencies survive being written: three digits, by slice, and nothing is lost in adding up."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from hdrh.histogram import HdrHistogram

from deploy.loadtest.latency import SLICES, Latency, values
from tests.unit.deploy.loadtest.test_verdict import outcome


@pytest.mark.parametrize("scale", [1e-4, 1.0, 100.0])
def test_percentiles_are_those_of_the_requests(scale: float) -> None:
    run = replace(outcome(5003), latency=scale * np.random.default_rng(1).lognormal(-4, 1, 5003))
    whole = Latency.of(run).whole()
    assert whole.get_total_count() == 5003
    for percent in (50, 90, 99, 99.9):
        exact = np.percentile(run.latency, percent, method="inverted_cdf")
        assert whole.get_value_at_percentile(percent) / 1e6 == pytest.approx(exact, rel=2e-3, abs=1e-6)


def test_each_request_is_in_the_slice_in_which_it_was_due() -> None:
    run = outcome(1000)
    slow = (run.due >= 4) & (run.due < 5)
    lost = run.due > 9
    kept = replace(run, latency=np.where(slow, 3.0, 0.02), status=np.where(lost, "OVERLOADED", run.status), due=run.due)
    latency = Latency.of(kept)
    assert latency.slice_seconds * SLICES == pytest.approx(10)
    for place, ((seconds, counts), unanswered) in enumerate(zip(latency.parts(), latency.unanswered, strict=True)):
        at = (place + 0.5) * latency.slice_seconds
        if at > 9:
            assert len(seconds) == 0
            assert unanswered == pytest.approx(20, abs=1)
        else:
            assert seconds == pytest.approx([3.0 if 4 < at < 5 else 0.02], rel=2e-3)
            assert counts.sum() == pytest.approx(20, abs=1)
            assert unanswered == 0


def test_values_are_the_iterators_of_the_package() -> None:
    latency = Latency.of(outcome())
    for slow in (1.0, 3000.0):
        whole = HdrHistogram(1, 3_600_000_000, 3)
        whole.add(latency.whole())
        whole.record_value(int(slow * 1e6))
        walked = [(step.value_iterated_to, step.count_at_value_iterated_to) for step in whole.get_recorded_iterator()]
        seconds, counts = values(whole)
        assert counts.tolist() == [count for _, count in walked]
        assert seconds * 1e6 == pytest.approx([value for value, _ in walked], rel=1e-3)


def test_nothing_answered_is_no_error() -> None:
    latency = Latency.of(replace(outcome(), status=np.full(1000, "UNAVAILABLE")))
    assert sum(latency.unanswered) == 1000
    assert latency.whole().get_total_count() == 0
