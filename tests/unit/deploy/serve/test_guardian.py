"""What outlives the supervisor is not what keeps it from ending."""

from __future__ import annotations

import os
import signal
from pathlib import Path

from deploy.serve import processes
from deploy.serve.guardian import Guardian


def test_one_that_was_stopped_is_dismissed_all_the_same(tmp_path: Path) -> None:
    guardian = Guardian(processes.own_prefix(), tmp_path / "log")
    os.kill(guardian._process.pid, signal.SIGSTOP)
    guardian.dismiss()
    assert guardian._process.returncode == 0
