"""Work in processes of its own."""

from __future__ import annotations

import os
import sys

import pytest

from deploy.loadtest.apart import apart
from deploy.loadtest.loadtest_error import LoadTestError


def square(number: int) -> tuple[int, int]:
    return number * number, os.getpid()


def test_each_share_is_computed_in_a_process_of_its_own_and_told_in_order() -> None:
    (nine, first), (four, second) = apart(square, [(3,), (2,)])
    assert (nine, four) == (9, 4)
    assert len({first, second, os.getpid()}) == 3


def test_one_that_ends_without_a_result_is_named() -> None:
    with pytest.raises(LoadTestError, match="ended before its run did"):
        apart(sys.exit, [(0,)])
