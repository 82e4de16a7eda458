"""The guardian: outlives a supervisor that is killed, and ends what it left.

The supervisor holds the other end of its standard input. When that closes, however it ended, whatever names its prefix
in an argument (tritonserver, backend processes, Envoy) is given the time of an orderly stop and then killed, and its
shared memory and its folder are removed. ``python -m deploy.serve.guardian PREFIX``.
"""

from __future__ import annotations

import signal
import subprocess
import sys
from pathlib import Path

import psutil

from deploy.serve import processes
from deploy.serve.installation import ROOT
from deploy.serve.log import open_log
from deploy.serve.times import Times


class Guardian:
    """The process, as its supervisor has it."""

    def __init__(self, prefix: str, log_file: Path) -> None:
        """Start it.

        Args:
            prefix: see :func:`deploy.serve.processes.own_prefix`.
        """
        with open_log(log_file) as log:
            self._process = subprocess.Popen(
                [sys.executable, "-m", __name__, prefix],
                stdin=subprocess.PIPE, stdout=log, stderr=log, cwd=ROOT, start_new_session=True,
            )  # fmt: skip

    def dismiss(self) -> None:
        """Have it look whether anything was left, and end, though it was stopped (SIGSTOP). Again is harmless."""
        assert self._process.stdin is not None
        self._process.stdin.close()
        self._process.send_signal(signal.SIGCONT)
        self._process.wait()


def main(arguments: list[str] | None = None) -> int:
    """Wait for the supervisor's end and clear up after it."""
    (prefix,) = sys.argv[1:] if arguments is None else arguments
    for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        signal.signal(number, signal.SIG_IGN)
    sys.stdin.buffer.read()
    psutil.wait_procs(processes.naming(prefix), timeout=Times().stop)
    processes.clear(prefix)
    return 0


if __name__ == "__main__":
    sys.exit(main())
