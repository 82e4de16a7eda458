"""Files that appear whole or not at all, and the hash that tells them apart."""

from __future__ import annotations

import errno
import hashlib
import os
import shutil
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from alexnet_client.errors import FileError

#: Who serves a file or a folder need not be who wrote it; some writers leave it private.
READABLE, PASSABLE = 0o644, 0o755
#: The disk, the user's share of it, or the largest file allowed is too small.
NO_ROOM = (errno.ENOSPC, errno.EDQUOT, errno.EFBIG)
BLOCK = 1 << 20


@contextmanager
def atomic_path(path: Path) -> Iterator[Path]:
    """Yield a temporary path beside ``path``; when the block ends well the file there becomes ``path``.

    It is flushed to disk and renamed. A block that raises leaves what was there before, and no temporary file.

    Raises:
        FileError: the file could not be written, flushed or renamed.
    """
    partial = path.with_name(f".{path.name}.{os.getpid()}.partial")
    with file_errors(path):
        path.parent.mkdir(parents=True, exist_ok=True)
        try:
            yield partial
            partial.chmod(READABLE)
            sync(partial)
            partial.replace(path)
            sync(path.parent)
        finally:
            partial.unlink(missing_ok=True)


@contextmanager
def new_folder(path: Path) -> Iterator[Path]:
    """Yield an empty folder beside ``path``; when the block ends well it becomes ``path``.

    For what is named by its content: a ``path`` that another process made in the meantime stays. A block that raises
    leaves nothing.

    Raises:
        FileError: the folder could not be written or renamed.
    """
    with file_errors(path):
        path.parent.mkdir(parents=True, exist_ok=True)
        partial = Path(tempfile.mkdtemp(dir=path.parent, prefix=f".{path.name}."))
        try:
            yield partial
            partial.chmod(PASSABLE)
            try:
                partial.rename(path)
            except OSError:
                if not path.is_dir():
                    raise
        finally:
            shutil.rmtree(partial, ignore_errors=True)


@contextmanager
def file_errors(path: Path) -> Iterator[None]:
    """What the operating system refuses inside the block is the user's to mend: a :class:`FileError` that names a file.

    Args:
        path: named where the system names none.
    """
    try:
        yield
    except FileError:
        raise
    except OSError as error:
        full = error.errno in NO_ROOM
        advice = ", free some or write elsewhere" if full else ""
        named = error.filename2 if full and error.filename2 else error.filename  # of a copy, the source is the first
        raise FileError(error.errno, f"{error.strerror or error}{advice}", str(named or path)) from error


def sync(path: Path) -> None:
    """Flush a file or a folder to disk."""
    handle = os.open(path, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)


def sha256(path: Path) -> str:
    """SHA-256 of a file, in hexadecimal.

    Raises:
        FileError: it cannot be read.
    """
    total = hashlib.sha256()
    with file_errors(path), path.open("rb") as file:
        while block := file.read(BLOCK):
            total.update(block)
    return total.hexdigest()


def sha256_of(data: bytes | str) -> str:
    """SHA-256 of bytes, or of a text in UTF-8, in hexadecimal."""
    return hashlib.sha256(data.encode() if isinstance(data, str) else data).hexdigest()
