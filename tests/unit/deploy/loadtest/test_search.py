"""The search finds the rate that a server keeps, whatever it begins with, and does not trust luck."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from deploy.loadtest.loadtest_error import LoadTestError
from deploy.loadtest.open_loop import Outcome
from deploy.loadtest.search import CLOSE, LOWER, REPEATS, confirm, search
from tests.unit.deploy.loadtest.test_verdict import outcome

P99 = 0.1


def server(capacity: float, rates: list[float], lucky: int = 0):
    """Keeps the target up to its capacity; ``lucky`` of the first runs beyond it as well."""

    def offer(rate: float) -> Outcome:
        rates.append(rate)
        beyond = rate > capacity and not (rate < 1.5 * capacity and len(rates) <= lucky)
        return outcome(latency=0.5 if beyond else 0.02)

    return offer


@pytest.mark.parametrize("first", [1, 50, 170, 200, 5000])
def test_it_finds_what_the_server_keeps(first: float) -> None:
    rates: list[float] = []
    found = search(server(180, rates), P99, first, [].append)
    assert 180 / CLOSE <= found.rate <= 180
    assert rates[-REPEATS:] == [found.rate] * REPEATS
    assert [run.rate for run in found.confirmed] == [found.rate] * REPEATS
    assert len(rates) < 25


def test_what_was_luck_is_not_confirmed() -> None:
    rates: list[float] = []
    found = search(server(180, rates, lucky=7), P99, 128, [].append)
    assert found.rate <= 180
    assert found.rate >= 180 * LOWER / CLOSE
    assert all(run.verdict.kept for run in found.confirmed)


def test_a_server_that_keeps_nothing_has_no_rate() -> None:
    found = search(server(0.0, []), P99, 64, [].append)
    assert (found.rate, found.confirmed) == (0.0, [])


def test_a_given_rate_is_tried_as_often_as_one_that_was_found_and_no_other() -> None:
    rates: list[float] = []
    found = confirm(server(180, rates), P99, 150, [].append)
    assert (found.rate, rates) == (150, [150] * REPEATS)
    assert len(found.confirmed) == REPEATS
    found = confirm(server(180, rates), P99, 200, [].append)
    assert (found.rate, rates[REPEATS:], found.confirmed) == (0.0, [200] * REPEATS, [])


@pytest.mark.parametrize(
    ("grows", "kept", "last"),
    [
        ([True, False], True, "VALID"),
        (
            [True, True],
            False,
            "missed: latency grows without bound: 7.0 times from the first quarter to the last, and 7.0 times in a run "
            "before",
        ),
    ],
)
def test_growth_in_one_run_is_noise_and_in_two_a_queue(grows: list[bool], kept: bool, last: str) -> None:
    script = iter(grows)
    growing = replace(outcome(), latency=np.linspace(0.01, 8, 1000))
    found = confirm(lambda _: growing if next(script) else outcome(), 10.0, 5.0, [].append, repeats=1)
    assert (found.rate, str(found.runs[-1].verdict)) == (5.0 if kept else 0.0, last)
    assert str(found.runs[0].verdict).startswith("cannot tell: latency grew 7.0 times")


def test_each_run_is_told_when_it_has_ended() -> None:
    heard: list[tuple[int, float, bool]] = []
    confirm(server(180, []), P99, 150, lambda found: heard.append((len(found.runs), found.rate, found.ended)))
    assert heard == [(number + 1, 0.0, False) for number in range(REPEATS)]


def test_a_moment_of_the_machine_does_not_end_the_search() -> None:
    calls: list[float] = []
    keeps = server(180, [])

    def offer(rate: float) -> Outcome:
        calls.append(rate)
        seen = keeps(rate)
        return replace(seen, lag=np.full(len(seen.due), 0.05)) if len(calls) % 3 == 0 else seen

    found = search(offer, P99, 64, [].append)
    assert 180 / CLOSE <= found.rate <= 180


def test_a_generator_at_its_limits_ends_the_search() -> None:
    """Rather than that its limit is taken for the server's."""

    def offer(rate: float) -> Outcome:
        good = outcome()
        return replace(good, lag=np.full(len(good.due), 0.05)) if rate > 100 else good

    with pytest.raises(LoadTestError, match=r"at 128 requests a second, 3 times in a row: INVALID: .* late by 50 ms"):
        search(offer, P99, 64, [].append)
