"""The bound on requests under way follows what the server answers."""

from __future__ import annotations

from itertools import pairwise

import pytest

from deploy.serve.admission import FEW, LEAST, MOST, SECONDS, Admission, Look


def limits(*looks: tuple[float, int, int, int], active: int = 100) -> list[int]:
    admission, seen = Admission(), []
    for look in looks:
        before = admission.limit
        assert admission.follow(Look(*look, active)) == (admission.limit != before)
        seen.append(admission.limit)
    return seen


def test_it_stays_while_it_is_not_met() -> None:
    assert limits(*((now, 1000 * now, 7, 0) for now in range(5))) == [LEAST] * 5


@pytest.mark.parametrize("answers_a_second", [10_000, 1000, 10**9])
def test_once_met_it_grows_to_the_requests_that_are_answered_in_good_time(answers_a_second: int) -> None:
    seen = limits(*((now, now * answers_a_second, now, 0) for now in range(20)))
    assert seen[:4] == [LEAST, 2 * LEAST, 4 * LEAST, min(8 * LEAST, round(answers_a_second * SECONDS))]
    assert seen[-1] == min(MOST, answers_a_second * SECONDS)


def test_it_follows_down_as_well_and_always_lets_full_batches_gather() -> None:
    seen = limits((0, 0, 0, 0), (1, 10_000, 1, 0), (2, 10_200, 2, 0), (3, 10_210, 3, 0))
    assert seen == [LEAST, 2 * LEAST, 100, LEAST]


def test_callers_who_give_up_halve_it_and_it_comes_back_when_they_do_not() -> None:
    hurried = [(float(now), 10 * now, 100 * now, 50 * now) for now in range(6)]
    calm = [(6.0 + now, 50 + 100 * now, 500, 250) for now in range(30)]
    seen = limits(*hurried, *calm)
    assert seen[:6] == [LEAST, LEAST // 2, LEAST // 4, LEAST // 8, FEW, FEW]
    assert all(0 < after - before <= LEAST / 8 for before, after in pairwise(seen[5:16]))
    assert seen[-1] == LEAST


def test_who_gives_up_where_nobody_waits_has_nobody_refused() -> None:
    """As one caller with deadlines of a millisecond, 300 a second, beside eight that are answered at once."""
    assert limits(*((float(now), 100 * now, 0, 300 * now) for now in range(10)), active=10) == [LEAST] * 10


def test_it_is_looked_at_once_a_second() -> None:
    admission = Admission()
    assert admission.due(0.0)
    admission.follow(Look(0.0, 0, 0, 0, 0))
    assert not admission.due(0.5)
    assert admission.due(1.0)
