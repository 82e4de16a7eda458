"""An open loop, against a scripted server."""

from __future__ import annotations

import grpc
import numpy as np
import pytest

from alexnet_client.contract import IMAGE
from deploy.loadtest.arrivals import arrivals, steady
from deploy.loadtest.open_loop import OK, offer
from deploy.loadtest.overload import Point, as_table
from deploy.loadtest.workload import workload
from tests.fake_triton import FakeTriton, Scripted

LOAD = workload("alexnet_int8", [np.zeros(IMAGE.shape, np.uint8)])


@pytest.mark.parametrize("processes", [1, 2])
def test_every_request_is_accounted_for_and_comes_whether_or_not_others_are_answered(processes: int) -> None:
    due = arrivals(steady(100, 1), seed=1)
    with FakeTriton() as server:
        server.script(then=Scripted(seconds=0.3))
        outcome = offer(server.url, LOAD, due, deadline=10, processes=processes)
    assert outcome.statuses == {OK: len(due)}
    assert len(server.requests) == len(due) + processes  # the first of each is not counted
    assert server.peak > 10
    assert outcome.latency.min() > 0.3
    assert outcome.throughput == pytest.approx(outcome.offered)
    assert outcome.goodput(10) == outcome.throughput
    assert outcome.goodput(0.3) == 0
    assert outcome.processes == processes


def test_latency_counts_from_when_a_request_was_due() -> None:
    """All at once: the last one's wait for the generator is its, too."""
    due = np.zeros(300)
    with FakeTriton() as server:
        outcome = offer(server.url, LOAD, due, deadline=60)
    assert outcome.lag[-1] > outcome.lag[0]
    assert (outcome.latency >= outcome.lag).all()


def test_what_is_refused_or_late_is_no_goodput() -> None:
    full = Scripted(grpc.StatusCode.UNAVAILABLE, "too much to do")
    broken = Scripted(grpc.StatusCode.INTERNAL, "no")
    due = np.linspace(0, 0.3, 30)
    with FakeTriton() as server:
        server.script(Scripted(), *[full] * 10, broken, then=Scripted(seconds=5))
        outcome = offer(server.url, LOAD, due, deadline=0.2)
    assert outcome.statuses == {"OVERLOADED": 10, "INTERNAL": 1, "DEADLINE_EXCEEDED": 19}
    assert outcome.goodput(1) == 0
    assert outcome.percentile(99) == float("inf")
    assert "inf" in as_table([Point("alexnet_int8", 0.2, outcome)])
