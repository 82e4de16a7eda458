"""SIGTERM that ends a command as Ctrl-C does: what it started is stopped, and what it measured is told."""

from __future__ import annotations

import signal
from collections.abc import Iterator
from contextlib import contextmanager


@contextmanager
def interruptible() -> Iterator[None]:
    """``KeyboardInterrupt`` is raised by either, while the block runs; for the main thread."""
    before = signal.signal(signal.SIGTERM, signal.default_int_handler)
    try:
        yield
    finally:
        signal.signal(signal.SIGTERM, before)
