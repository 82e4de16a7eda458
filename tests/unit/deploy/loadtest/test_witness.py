"""Who asks the probe all the time hears of a server that is gone."""

from __future__ import annotations

import time

from deploy.loadtest.witness import Witness
from deploy.serve.ports import free_ports
from tests.waiting import wait_until


def test_it_tells_how_soon_a_server_was_said_not_to_be_ready() -> None:
    before = time.monotonic()
    with Witness(f"127.0.0.1:{free_ports().grpc}") as witness:
        wait_until(lambda: witness.told_after(before), "the probe's answer")
    assert 0 < (witness.told_after(before) or 0) < time.monotonic() - before
    assert witness.told_after(time.monotonic()) is None
