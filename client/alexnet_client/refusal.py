"""The decoder's refusal on the wire: which images of a request cannot be used, and why.

It is the message of an INVALID_ARGUMENT: a sentence for whoever reads it, JSON for a program, whatever a reason says::

    images that cannot be used: {"3": "got an empty image: send the bytes of a JPEG file"}
"""

from __future__ import annotations

import json
import re
from collections.abc import Mapping

from alexnet_client.contract import REFUSED_IMAGES

#: gRPC carries 8 KiB of metadata, this message among it; a longer one would hide the refusal behind another error.
MAX_BYTES = 6 * 1024
CUT = "..."
#: What Triton puts before the words of an ensemble's step.
STEP = re.compile(r"^in ensemble '[^']*', ")


def message(reasons: Mapping[int, str]) -> str:
    """The refusal of a request.

    Args:
        reasons: place in the request -> why that image cannot be used. Where there are many, each is cut to its share.

    Returns:
        ASCII text of at most ``MAX_BYTES``.
    """
    room = (MAX_BYTES - len(REFUSED_IMAGES)) // max(1, len(reasons)) - len('"127": , ')
    return REFUSED_IMAGES + json.dumps({str(place): _cut(reason, room) for place, reason in reasons.items()})


def reasons(text: str) -> dict[int, str] | None:
    """What :func:`message` said, from a server's own words; None if they are about something else."""
    text = STEP.sub("", text)
    if not text.startswith(REFUSED_IMAGES):
        return None
    try:
        said = json.loads(text.removeprefix(REFUSED_IMAGES))
        return {int(place): str(reason) for place, reason in said.items()} or None
    except (ValueError, AttributeError):  # another server's idea of it
        return None


def _cut(reason: str, room: int) -> str:
    if len(json.dumps(reason)) <= room:
        return reason
    while reason and len(json.dumps(reason + CUT)) > room:
        reason = reason[:-1]
    return reason + CUT
