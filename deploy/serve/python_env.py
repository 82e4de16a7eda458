"""Triton's ``/tmp/python_env_XXXXXX``, one of each backend in Python: empty, as no model of ours brings an interpreter.

A Triton that ends in order takes its own away, and aborts where it finds none; one that is killed leaves them, and
nothing on a folder says whose it is. So who starts a tritonserver notes those that have appeared meanwhile, if no other
Triton can have made them; whoever clears up after that tritonserver removes what was noted, and nothing that has
something in it.
"""

from __future__ import annotations

import os
import re
from collections.abc import Collection
from contextlib import suppress
from pathlib import Path

#: Where Triton makes them, whatever TMPDIR says; and how they are called.
FOLDER, _NAME = Path("/tmp"), re.compile(r"python_env_[A-Za-z0-9]{6}")  # noqa: S108
_NOTED = re.compile(rf"\d+(\n{_NAME.pattern})*")
#: The library of the backend that makes them.
LIBRARY = "libtriton_python.so"
#: How a note's name ends.
NOTE = "python_env"


def present() -> frozenset[str]:
    """The names of those of this user."""
    found = set()
    for entry in os.scandir(FOLDER):
        with suppress(FileNotFoundError):  # just gone
            if _NAME.fullmatch(entry.name) and entry.stat(follow_symlinks=False).st_uid == os.getuid():
                found.add(entry.name)
    return frozenset(found)


def note(path: Path, server: int, before: Collection[str]) -> None:
    """Note, as ``path``, what the tritonserver with process id ``server`` has made.

    Args:
        before: what was :func:`present` before it was started.
    """
    made, noted = present() - set(before), set()
    for other in path.parent.glob(f"*{NOTE}"):
        owner, *names = _read(other)
        noted.add(int(owner))
        made -= set(names)
    if _makers() <= noted | {server}:  # who has noted its own makes no more
        with suppress(OSError):  # a full disk has worse to offer
            path.write_text("\n".join((str(server), *sorted(made))))


def remove(path: Path) -> None:
    """Remove what was noted as ``path``, and the note."""
    for name in _read(path)[1:]:
        with suppress(OSError):  # gone, or not empty
            (FOLDER / name).rmdir()
    path.unlink()


def _read(path: Path) -> list[str]:
    """The server's process id and the names; 0 of what is no note, as another user may have put there."""
    with suppress(OSError, UnicodeDecodeError):
        if path.is_file() and (match := _NOTED.fullmatch(path.read_text())):
            return match[0].split()
    return ["0"]


def _makers() -> set[int]:
    """Processes that have the backend in them and the same ``/tmp``, of those that this user may look at."""
    found = set()
    for process in Path("/proc").glob("[0-9]*"):
        with suppress(OSError):
            if LIBRARY in (process / "maps").read_text() and Path(f"{process}/root{FOLDER}").samefile(FOLDER):
                found.add(int(process.name))
    return found
