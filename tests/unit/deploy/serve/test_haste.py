"""Deadlines that cannot be kept are told from those that can."""

from __future__ import annotations

import re

import pytest

from deploy.serve.haste import STEPS, key, refused, shorter

#: What gRPC writes, and the microseconds that it means.
UNITS = {"n": 0.001, "u": 1, "m": 1000, "S": 10**6, "M": 60 * 10**6, "H": 3600 * 10**6}


@pytest.mark.parametrize("step", STEPS)
def test_it_is_read_as_grpc_writes_it(step: int) -> None:
    """Around every power of ten, and around the step."""
    numbers = {digit * 10**zeros + more for zeros in range(7) for digit in (1, 2, 5) for more in (-1, 0, 1)}
    for number in numbers | {0, step - 1, step, step + 1, step // 1000 + 1}:
        for unit, microseconds in UNITS.items():
            if (unit == "n" and number > 10**6) or (number == 0 and unit in "mSMH"):
                continue  # nobody writes a second in nanoseconds
            assert bool(re.fullmatch(shorter(step), f"{number}{unit}")) == (number * microseconds <= step), (
                number,
                unit,
            )


def test_what_is_refused_is_shorter_than_the_fastest_answer() -> None:
    assert set(refused(0.0).values()) == {0}
    assert [step for step in STEPS if refused(0.0081)[key(step)]] == [1000, 2000, 5000]
    assert set(refused(9.0).values()) == {100}
