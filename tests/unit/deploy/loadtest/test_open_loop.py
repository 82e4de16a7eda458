"""An open loop, against a scripted server."""

from __future__ import annotations

import grpc
import numpy as np
import pytest

from alexnet_client.contract import IMAGE
from deploy.loadtest.hostile import request
from deploy.loadtest.open_loop import offer
from deploy.loadtest.overload import Point, as_table
from tests.fake_triton import FakeTriton, Scripted

MESSAGE = request("alexnet_int8", IMAGE, (1, *IMAGE.shape), bytes(int(np.prod(IMAGE.shape))))


def test_every_request_is_accounted_for_and_comes_whether_or_not_others_are_answered() -> None:
    with FakeTriton() as server:
        server.script(then=Scripted(seconds=0.3))
        offered = offer(server.url, MESSAGE, rate=100, seconds=1, deadline=10)
    assert offered.statuses == {"OK": 100}
    assert len(server.requests) == 101  # the first is not counted
    assert server.peak > 10
    assert offered.latencies.min() > 0.3
    assert offered.goodput == pytest.approx(100, rel=0.4)


def test_what_is_refused_or_late_is_no_goodput() -> None:
    full = Scripted(grpc.StatusCode.UNAVAILABLE, "too much to do")
    with FakeTriton() as server:
        server.script(Scripted(), *[full] * 10, then=Scripted(seconds=5))
        offered = offer(server.url, MESSAGE, rate=100, seconds=0.3, deadline=0.2)
    assert offered.statuses == {"UNAVAILABLE": 10, "DEADLINE_EXCEEDED": 20}
    assert offered.goodput == 0
    assert "nan" in as_table([Point("alexnet_int8", 0.2, offered, 0.1)])
