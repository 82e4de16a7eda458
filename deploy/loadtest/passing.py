"""Time that passes, on standard error: how long something will take, said before, and a bar meanwhile."""

from __future__ import annotations

import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager

from tqdm import tqdm

#: Seconds between two steps of a bar.
STEP = 0.25
BAR = "{desc}: {percentage:3.0f}%|{bar}| {n:.0f}/{total:.0f} s"


def in_words(seconds: float) -> str:
    """``40 s``, or ``5 min``."""
    return f"{seconds:.0f} s" if seconds < 100 else f"{seconds / 60:.0f} min"


@contextmanager
def passing(seconds: float, what: str) -> Iterator[None]:
    """A bar of so many seconds, on a terminal, while the block runs; it leaves nothing."""
    ended = threading.Event()
    with tqdm(total=seconds, desc=what, bar_format=BAR, leave=False, disable=None, file=sys.stderr) as bar:

        def move() -> None:
            while not ended.wait(STEP):
                bar.update(min(STEP, seconds - bar.n))

        mover = threading.Thread(target=move, daemon=True)  # Ctrl-C while it starts leaves nothing to wait for
        try:
            mover.start()
            yield
        finally:
            ended.set()
            if mover.is_alive():
                mover.join()
