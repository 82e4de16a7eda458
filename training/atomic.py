"""Files that appear whole or not at all: written beside their place, flushed to disk, renamed."""

from __future__ import annotations

import errno
import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

#: Who serves a file need not be who wrote it; some writers leave it private.
READABLE = 0o644
#: The disk, the user's share of it, or the largest file allowed is too small.
NO_ROOM = (errno.ENOSPC, errno.EDQUOT, errno.EFBIG)


@contextmanager
def atomic_path(path: Path) -> Iterator[Path]:
    """Yield a temporary path beside ``path``; when the block ends well the file there becomes ``path``.

    A block that raises leaves what was there before, and no temporary file.

    Raises:
        OSError: the file could not be written, flushed or renamed; names it when there was no room.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    partial = path.with_name(f".{path.name}.{os.getpid()}.partial")
    try:
        yield partial
        partial.chmod(READABLE)
        sync(partial)
        partial.replace(path)
        sync(path.parent)
    except OSError as error:
        if error.errno not in NO_ROOM:
            raise
        raise OSError(error.errno, f"{os.strerror(error.errno)}, free some or write elsewhere", str(path)) from None
    finally:
        partial.unlink(missing_ok=True)


def sync(path: Path) -> None:
    """Flush a file or a folder to disk."""
    handle = os.open(path, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)
