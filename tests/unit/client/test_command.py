"""How a command ends."""

from __future__ import annotations

import subprocess
import sys

from alexnet_client.command import INTERRUPTED
from tests.waiting import PATIENCE

#: Ctrl-C while a channel that still has a call is being closed.
INTERRUPTED_AMID_A_CLOSE = """
import threading
import grpc
from alexnet_client.command import leave, run

channel = grpc.insecure_channel("127.0.0.1:1")
call = channel.unary_unary("/a/b").future(b"", wait_for_ready=True)
wait = threading.Condition.wait

def interrupted(*_):
    threading.Condition.wait = wait
    raise KeyboardInterrupt

def close():
    threading.Condition.wait = interrupted
    channel.close()

leave(run("name", close))
"""


def test_a_command_that_is_interrupted_amid_a_channel_s_closing_ends() -> None:
    ended = subprocess.run(
        [sys.executable, "-c", INTERRUPTED_AMID_A_CLOSE], capture_output=True, text=True, timeout=PATIENCE, check=False
    )
    assert (ended.returncode, ended.stderr) == (INTERRUPTED, "name: interrupted\n")
