"""The server's log: readable by its user alone, and bounded."""

from __future__ import annotations

import os
import shutil
from pathlib import Path
from typing import BinaryIO

#: The log, and the one before it.
MOST_BYTES = 16 * 2**20


def open_log(path: Path) -> BinaryIO:
    """A log to add to, which nobody else may read: requests are told of in it."""
    path.parent.mkdir(parents=True, exist_ok=True)
    handle = os.open(path, os.O_WRONLY | os.O_APPEND | os.O_CREAT, 0o600)
    os.fchmod(handle, 0o600)
    return os.fdopen(handle, "ab")


def bound_log(path: Path) -> None:
    """Begin a log anew once it is long; what was in it is beside it, ending in ``.1``.

    Copied and cut, as those who write to it keep it open: what is written in between is lost.
    """
    if path.is_file() and path.stat().st_size > MOST_BYTES:
        before = path.with_name(f"{path.name}.1")
        before.unlink(missing_ok=True)
        with path.open("rb") as source, open_log(before) as target:
            shutil.copyfileobj(source, target)
        os.truncate(path, 0)
