"""The base of every error that a user can cause, or do something about; anything else is a bug, and a traceback."""

from __future__ import annotations

from typing import ClassVar


class AlexNetError(Exception):
    """Says what was got, what was wanted and what to do next; a command prints it as one line and ends."""

    #: The exit status of a command that ends with it.
    exit_status: ClassVar[int] = 1


class FileError(AlexNetError, OSError):
    """A file that cannot be read or written where it is: missing, forbidden, or the disk is full."""
