"""The decision to send a request again."""

from __future__ import annotations

#: Times that a request is sent.
ATTEMPTS = 2
#: A new version took the place of the one that was chosen for the request; nothing has run.
NOTHING_HAS_RUN = "is not at ready state"


def again(message: str, attempts: int) -> bool:
    """Whether a request that failed so is worth another attempt: only where the server has not begun to work on it.

    Args:
        message: the server's.
        attempts: made so far.
    """
    return attempts < ATTEMPTS and NOTHING_HAS_RUN in message
