"""Waiting on conditions: as long as the slowest machine under other load may need, and no longer than it takes."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable

#: Seconds; how long something takes is a benchmark's business, here only whether it comes.
PATIENCE = 120


def wait_until(condition: Callable[[], bool], what: str) -> None:
    """Return once it holds.

    Raises:
        AssertionError: it does not come; names it.
    """
    deadline = time.monotonic() + PATIENCE
    while not condition():
        assert time.monotonic() < deadline, f"waited in vain for {what}"
        threading.Event().wait(0.02)
