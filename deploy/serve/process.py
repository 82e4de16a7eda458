"""One tritonserver process, from its start to an end that leaves no trace."""

from __future__ import annotations

import shutil
import signal
import subprocess
from pathlib import Path

from alexnet_client.errors import AlexNetError
from deploy.serve import processes, python_env
from deploy.serve.installation import ROOT
from deploy.serve.log import open_log


class ServerError(AlexNetError):
    """A server that does not start, or died for good."""


class DiedStarting(ServerError):
    """A tritonserver that ended before it answered."""


def spawn(
    command: list[str], log_file: Path, at_parents_death: signal.Signals, environment: dict[str, str] | None = None
) -> subprocess.Popen[bytes]:
    """Start a process that Ctrl-C does not reach, what it says in a log; the kernel signals it should this one die."""
    setpriv = shutil.which("setpriv")
    with open_log(log_file) as output:
        return subprocess.Popen(
            [setpriv, "--pdeathsig", at_parents_death.name.removeprefix("SIG"), *command] if setpriv else command,
            stdout=output,
            stderr=subprocess.STDOUT,
            stdin=subprocess.DEVNULL,
            env=environment,
            cwd=ROOT,  # the backends' interpreters look for our modules here: they ignore PYTHONPATH
            start_new_session=True,
        )


class TritonProcess:
    """A running tritonserver with its backend processes and shared memory."""

    def __init__(self, command: list[str], environment: dict[str, str], log_file: Path, prefix: str) -> None:
        """Start it.

        Args:
            command: see :func:`deploy.serve.flags.command`.
            prefix: of its regions in shared memory.
        """
        self.prefix = prefix
        self._note = processes.FOLDERS / f"{prefix}{python_env.NOTE}"
        self._before = python_env.present()
        self._process = spawn(command, log_file, signal.SIGTERM, environment)

    @property
    def pid(self) -> int:
        """Its process id."""
        return self._process.pid

    @property
    def alive(self) -> bool:
        """Whether it runs."""
        return self._process.poll() is None

    def stubs(self) -> dict[int, str]:
        """Its living backend processes: process id -> model."""
        return processes.stubs(self.pid)

    def loaded(self) -> None:
        """To be called once it has all its models: note what it left where temporary files lie."""
        python_env.note(self._note, self.pid, self._before)

    def end(self) -> None:
        """End it at once, backend processes included, and clear away what it leaves.

        It has no state that could be lost, and whoever ends it has let it answer what it was asked: unloading its
        models in order takes Triton 24.10 three seconds more.
        """
        processes.kill(self.pid)
        self._process.wait()
        if not self._note.exists():
            self.loaded()
        processes.clear(self.prefix)
        processes.remove(processes.locks_prefix(self.pid))
