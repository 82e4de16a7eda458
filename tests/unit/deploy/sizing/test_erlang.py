"""M/M/c against tables and closed forms."""

from __future__ import annotations

import math

import pytest

from deploy.sizing.erlang import mean_wait, staffing, waits
from deploy.sizing.sizing_error import SizingError


def test_one_server_is_m_m_1() -> None:
    for load in (0.1, 0.5, 0.9):
        assert waits(1, load) == pytest.approx(load)
        assert mean_wait(1, load / 2.0, 2.0) == pytest.approx(2.0 * load / (1 - load))


@pytest.mark.parametrize(("servers", "load"), [(2, 1.0), (5, 4.0), (10, 8.0), (100, 90.0)])
def test_many_servers_are_erlangs_sum(servers: int, load: float) -> None:
    """C(c, a) = a^c / c! c / (c - a) over the sum, as it stands in Kleinrock (3.40)."""
    last = load**servers / math.factorial(servers) * servers / (servers - load)
    assert waits(servers, load) == pytest.approx(
        last / (sum(load**k / math.factorial(k) for k in range(servers)) + last)
    )


def test_two_servers_with_one_erlang() -> None:
    assert waits(2, 1.0) == pytest.approx(1 / 3)


def test_square_root_staffing_is_close_to_erlang() -> None:
    for load in (50.0, 1000.0, 10_000.0):
        servers = staffing(load, 0.2)
        exact = next(count for count in range(math.ceil(load) + 1, 20_000) if waits(count, load) <= 0.2)
        assert abs(servers - exact) <= 1


@pytest.mark.parametrize(("servers", "load"), [(2, 2.0), (2, 3.0), (0, 0.0), (1, -1.0)])
def test_more_than_servers_can_do_is_refused(servers: int, load: float) -> None:
    with pytest.raises(SizingError, match="want fewer erlangs than servers"):
        waits(servers, load)


def test_a_share_that_is_none_is_refused() -> None:
    with pytest.raises(SizingError, match="from 0 to 1"):
        staffing(10.0, 1.0)
