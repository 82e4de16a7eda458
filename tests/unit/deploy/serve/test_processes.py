"""Who is killed is gone, or does nothing any more, before anything else is done."""

from __future__ import annotations

import subprocess
import sys
import time

import psutil

from deploy.serve import processes

#: Starts a child, says its process id, and never asks what became of it.
PARENT = "import subprocess, time; print(subprocess.Popen(['sleep', '60']).pid, flush=True); time.sleep(60)"


def test_one_that_nobody_waits_for_is_not_waited_for_either() -> None:
    """As tritonserver's backends are: a zombie is as dead as it gets."""
    with subprocess.Popen([sys.executable, "-c", PARENT], stdout=subprocess.PIPE, text=True) as parent:
        assert parent.stdout is not None
        child = psutil.Process(int(parent.stdout.readline()))
        before = time.monotonic()
        processes.kill(child.pid)
        assert child.status() == psutil.STATUS_ZOMBIE
        assert time.monotonic() - before < 4  # it would be 5
        processes.kill(parent.pid)
        assert parent.poll() is not None
