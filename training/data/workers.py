"""Worker processes that start fast, cannot deadlock, and end with the process they work for, in silence."""

from __future__ import annotations

import multiprocessing
import os
import signal
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from multiprocessing import resource_tracker
from multiprocessing.context import BaseContext
from types import TracebackType

#: Loaded once by the server that workers are forked from, so that each starts in milliseconds.
PRELOADED = ["training.data.batches", "training.data.open"]
#: Seconds in which the end of a parent shows, after a connection to it broke.
GONE = 1.0


def cores() -> int:
    """Cores for each process on this machine: those this one may run on, shared with its fellows under ``torchrun``."""
    mine = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    return max(1, mine // int(os.environ.get("LOCAL_WORLD_SIZE", "1")))


@contextmanager
def starting() -> Iterator[BaseContext]:
    """Give the context to start workers in, while inside.

    A forked copy of this process could wait for ever for a lock that a thread of torch, ONNX Runtime or gRPC held,
    and a spawned one imports torch, over a second each. A fork of a server that has imported it and done nothing else
    does neither. The server stays, for the next ones.
    """
    context = multiprocessing.get_context("forkserver")
    context.set_forkserver_preload(PRELOADED)
    # The tracker removes the semaphores of a process that was killed: that is its work, and nothing to warn of.
    given = os.environ.get("PYTHONWARNINGS")
    os.environ["PYTHONWARNINGS"] = ",".join(filter(None, (given, "ignore:resource_tracker")))
    # What is started never sees Ctrl-C: this process does, and ends them.
    before = signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGINT})
    try:
        resource_tracker.ensure_running()
        yield context
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)
        if given is None:
            del os.environ["PYTHONWARNINGS"]
        else:
            os.environ["PYTHONWARNINGS"] = given


def end_with_parent(_worker: int) -> None:
    """In a worker: end at once when the process it works for is gone. The server is its parent to the system."""
    parent = multiprocessing.parent_process()
    if parent is None:  # no worker: the images are decoded where they are used
        return

    def wait() -> None:
        parent.join()
        os._exit(1)

    def report(kind: type[BaseException], error: BaseException, trace: TracebackType | None) -> None:
        parent.join(GONE)
        if parent.is_alive():  # a connection that broke with it is not worth a traceback
            sys.__excepthook__(kind, error, trace)

    sys.excepthook = report
    threading.Thread(target=wait, daemon=True).start()
