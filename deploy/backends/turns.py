"""Instances of one model take turns: one computes with all cores, or on the GPU, while the next one's batch gathers.

Each is a process of its own. The lock is ``flock``: the kernel opens it when its holder dies, however that happens.
"""

import fcntl
import os
from contextlib import contextmanager

from deploy.serve.processes import lock_file


class Turns:
    """The lock that all instances of a model in one server share."""

    def __init__(self, model):
        # A backend's process is its server's child.
        self._file = lock_file(os.getppid(), model).open("a")

    @contextmanager
    def mine(self):
        """Wait for this instance's turn, and hold it for the block."""
        fcntl.flock(self._file, fcntl.LOCK_EX)
        try:
            yield
        finally:
            fcntl.flock(self._file, fcntl.LOCK_UN)

    @contextmanager
    def mine_if_free(self):
        """Hold the turn for the block if no other instance has it; whether that is so."""
        try:
            fcntl.flock(self._file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            yield False
            return
        try:
            yield True
        finally:
            fcntl.flock(self._file, fcntl.LOCK_UN)
