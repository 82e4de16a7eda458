"""A run that tells nothing is called invalid; one that tells that the server is too slow, missed."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from deploy.loadtest.open_loop import OK, Outcome
from deploy.loadtest.verdict import judge


def outcome(count: int = 1000, latency: float = 0.02) -> Outcome:
    random = np.random.default_rng(0)
    return Outcome(
        due=np.linspace(0, 10, count),
        lag=np.full(count, 0.0005),
        latency=random.gamma(20, latency / 20, count),
        status=np.full(count, OK),
        batch=1,
        processes=1,
        cores=0.3,
    )


def test_a_run_in_time_is_valid() -> None:
    verdict = judge(outcome(), 0.1)
    assert verdict.kept
    assert str(verdict) == "VALID"


def test_a_slow_server_misses_the_target() -> None:
    verdict = judge(outcome(latency=0.2), 0.1)
    assert not verdict.kept
    assert not verdict.invalid
    assert "missed: p99 " in str(verdict)


@pytest.mark.parametrize(
    ("changes", "reason"),
    [
        ({"lag": np.full(1000, 0.03)}, "late by 30 ms"),
        ({"cores": 0.95}, "0.95 of a core"),
    ],
)
def test_a_generator_at_its_limits_is_no_measurement(changes: dict, reason: str) -> None:
    verdict = judge(replace(outcome(), **changes), 0.1)
    assert not verdict.kept
    assert reason in str(verdict)
    assert str(verdict).startswith("INVALID")


def test_a_few_requests_have_no_99th_percentile() -> None:
    assert "499 requests, want 500" in str(judge(outcome(499), 0.1))


def test_failures_are_counted_and_named() -> None:
    good = outcome()
    status = good.status.astype("U24")
    status[:1] = "INTERNAL"
    assert judge(replace(good, status=status), 0.1).kept  # one in a thousand
    status[:3], status[3:5] = "OVERLOADED", "INTERNAL"
    assert "0.5 % without an answer (3 OVERLOADED, 2 INTERNAL)" in str(judge(replace(good, status=status), 0.1))


def test_latency_that_grows_in_one_run_tells_nothing_and_in_two_that_the_queue_grows() -> None:
    growing = replace(outcome(), latency=np.linspace(0.01, 8, 1000))
    once = judge(growing, 10.0)
    assert not once.kept
    assert (once.invalid, once.missed) == ((), ())
    assert str(once) == (
        "cannot tell: latency grew 7.0 times from the first quarter to the last: run it again, a queue without bound "
        "does so again"
    )
    assert str(once.after(3.0)) == (
        "missed: latency grows without bound: 7.0 times from the first quarter to the last, and 3.0 times in a run "
        "before"
    )
    assert judge(outcome(latency=0.0002), 10.0).kept  # noise of what is small
