"""The error tree, and the one place where tritonclient's errors become ours.

AlexNetError
├── InvalidRequest (ValueError)      what was sent cannot be answered
│   ├── InvalidImage                 one image is at fault; `index` says which
│   └── UnknownModel                 the server does not serve that model
├── DeadlineExceeded (TimeoutError)  no answer within `timeout` seconds
├── Unavailable                      nobody answers at that address, or the server is stopping
│   └── Overloaded                   the server refuses work it could not do in time
└── ServerError                      the server failed; the request was fine
"""

from __future__ import annotations

import re
from typing import ClassVar

from tritonclient.utils import InferenceServerException

from alexnet_client.errors import AlexNetError


class InvalidRequest(AlexNetError, ValueError):
    """The request cannot be answered; sending it again will not help."""

    exit_status: ClassVar[int] = 2


class InvalidImage(InvalidRequest):
    """An image cannot be used. ``index`` is its place in the call's images."""

    def __init__(self, message: str, index: int) -> None:
        super().__init__(message)
        self.index = index


class UnknownModel(InvalidRequest):
    """The server does not serve that model."""


class DeadlineExceeded(AlexNetError, TimeoutError):
    """No answer within the timeout."""

    exit_status: ClassVar[int] = 4


class Unavailable(AlexNetError):
    """The server cannot be reached, or is stopping."""

    exit_status: ClassVar[int] = 3


class Overloaded(Unavailable):
    """The server refused the request because its queue is full, or because it waited there too long."""


class ServerError(AlexNetError):
    """The server failed."""


_OVERLOADED = ("maximum queue size", "Request timeout expired")
#: What Triton puts before a step's own words.
_STEP = re.compile(r"^in ensemble '[^']*', ")
_BAD_IMAGE = re.compile(r"image (\d+): (.*)", re.DOTALL)
_INVALID = frozenset({"INVALID_ARGUMENT", "OUT_OF_RANGE", "FAILED_PRECONDITION", "ALREADY_EXISTS"})


def translate(
    error: InferenceServerException, model: str, url: str, timeout: float, first: int = 0, count: int = 0
) -> AlexNetError:
    """The error of this package that says what ``error`` means.

    Args:
        first, count: place in the call of the failed request's first image, and how many it had; the server names an
            image only where a request has several.
    """
    status, message = (
        str(error.status() or "").removeprefix("StatusCode."),
        _STEP.sub("", error.message() or str(error)),
    )
    if status == "DEADLINE_EXCEEDED":
        return DeadlineExceeded(f"{model} at {url} did not answer within {timeout:g} s: raise `timeout`, or send less")
    if status == "UNAVAILABLE":
        if any(sign in message for sign in _OVERLOADED):
            return Overloaded(f"{model} at {url} has too much to do ({message}): send again later")
        # A model without a ready version: unknown, or just being loaded or unloaded.
        if message.startswith("Request for unknown model"):
            return _unknown(model, url, message)
        return Unavailable(f"no server answers at {url} ({message})")
    if status == "NOT_FOUND" or "unknown model" in message:
        return _unknown(model, url, message)
    if status in _INVALID:
        named = _BAD_IMAGE.match(message)
        if named:
            index = first + int(named[1])
            return InvalidImage(f"image {index}: {named[2]}", index)
        if count == 1:
            return InvalidImage(f"image {first}: {message}", first)
        return InvalidRequest(f"{model} refused the request: {message}")
    return ServerError(f"{model} at {url} failed ({status or 'no status'}): {message}")


def _unknown(model: str, url: str, message: str) -> UnknownModel:
    return UnknownModel(f"{url} does not serve {model!r} ({message}): `alexnet-client health` lists what it serves")
