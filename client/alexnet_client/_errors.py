"""The error tree, and the one place where a server's codes become ours.

AlexNetError
├── InvalidRequest (ValueError)      what was sent cannot be answered
│   ├── InvalidImage                 images are at fault; `images` says which, and why
│   └── UnknownModel                 the server does not serve that model
├── DeadlineExceeded (TimeoutError)  no answer within `timeout` seconds
├── Unavailable                      nobody answers at that address, or the server is stopping
│   └── Overloaded                   the server refuses work it could not do in time
└── ServerError                      the server failed; the request was fine
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, ClassVar

from alexnet_client import refusal
from alexnet_client.contract import OVERLOAD_SIGNS
from alexnet_client.errors import AlexNetError

if TYPE_CHECKING:
    from alexnet_client._options import Options
    from alexnet_client._request import Part


class InvalidRequest(AlexNetError, ValueError):
    """The request cannot be answered; sending it again will not help."""

    exit_status: ClassVar[int] = 2


class InvalidImage(InvalidRequest):
    """Images cannot be used: all that were found in the first request of the call that has any."""

    def __init__(self, images: Mapping[int, str], names: Mapping[int, str] | None = None) -> None:
        """Say which, and why.

        Args:
            images: place in the call's images -> reason; at least one.
            names: place -> file's name, where it has one.
        """
        super().__init__(images, names)
        #: Place in the call's images -> reason, in the call's order.
        self.images = dict(sorted(images.items()))
        self._names = dict(names or {})

    @property
    def index(self) -> int:
        """Place of the first."""
        return next(iter(self.images))

    def __str__(self) -> str:
        return "; ".join(f"image {place}{self._name(place)}: {reason}" for place, reason in self.images.items())

    def _name(self, place: int) -> str:
        return f" ({self._names[place]})" if place in self._names else ""


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


#: Of a model that is being loaded or unloaded, as when its backend died or its server stops; it is known all the same.
_BETWEEN = ("has no available versions", "is not at ready state")
_INVALID = frozenset({"INVALID_ARGUMENT", "OUT_OF_RANGE", "FAILED_PRECONDITION", "ALREADY_EXISTS"})


def translate(status: str, message: str, options: Options, part: Part) -> AlexNetError:
    """The error of this package that says what a server's answer means.

    Args:
        status: name of the gRPC status code.
        message: the server's, or gRPC's own.
        part: the images of the request that failed.
    """
    model, url, timeout = options.model, options.url, options.timeout
    bad = refusal.reasons(message)
    message = refusal.STEP.sub("", message)
    if status == "DEADLINE_EXCEEDED":
        return DeadlineExceeded(f"{model} at {url} did not answer within {timeout:g} s: raise `timeout`, or send less")
    if any(sign in message for sign in _BETWEEN):
        return Unavailable(f"{model} at {url} is being loaded, or its server stops ({message}): send again later")
    if status == "NOT_FOUND" or "unknown model" in message:
        return UnknownModel(f"{url} does not serve {model!r} ({message}): `alexnet-client health` lists what it serves")
    if status == "UNAVAILABLE":
        if any(sign in message for sign in OVERLOAD_SIGNS):
            return Overloaded(f"{model} at {url} is overloaded ({message}): send again later")
        return Unavailable(f"no server answers at {url} ({message})")
    if status in _INVALID:
        if bad:
            return InvalidImage({part.first + place: reason for place, reason in bad.items()}, part.names)
        return InvalidRequest(f"{model} refused the request: {message}")
    return ServerError(f"{model} at {url} failed ({status}): {message}")
