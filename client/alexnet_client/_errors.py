"""The error tree, and the one place where a server's codes become ours.

AlexNetError
└── RequestError
    ├── InvalidRequest (ValueError)      what was sent cannot be answered
    │   ├── InvalidImage                 images are at fault; `images` says which, and why
    │   └── UnknownModel                 the server does not serve that model
    ├── DeadlineExceeded (TimeoutError)  no answer within `timeout` seconds
    ├── NotPermitted                     who asks is not known to the server, or may not
    ├── Unavailable                      nobody answers at that address, or the server is stopping
    │   ├── Overloaded                   the server refuses work it could not do in time
    │   └── AnswerMismatch               what came is the answer to another request; it is thrown away
    └── ServerError                      the server failed; the request was fine

ClientClosed (RuntimeError): the client was used after it was closed, which is a mistake of the program's.

SharedMemoryWarning (UserWarning): `shared_memory` cannot be had, and all goes on without it.

Of each error, `failure` says which request it was and how it ended, if one was sent; `__cause__` is gRPC's own error.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import ClassVar

from alexnet_client import refusal
from alexnet_client.contract import OVERLOAD_SIGNS, TOO_LARGE
from alexnet_client.errors import AlexNetError


@dataclass(frozen=True)
class Failure:
    """A request that failed."""

    #: Name of the gRPC status code of its last attempt.
    status: str
    #: What the server said, or gRPC.
    message: str
    url: str
    model: str
    #: As the server's log and traces have it.
    request_id: str = ""
    #: Times that it was sent.
    attempts: int = 1
    #: Seconds that the call was given; None is for ever.
    timeout: float | None = None


class RequestError(AlexNetError):
    """Base of what a client raises."""

    #: The request that failed; None if none was sent.
    failure: Failure | None = None


class InvalidRequest(RequestError, ValueError):
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


class ClientClosed(RuntimeError):
    """The client was closed, before the call or under it. No :class:`AlexNetError`: it is the program's mistake."""


class DeadlineExceeded(RequestError, TimeoutError):
    """No answer within the timeout."""

    exit_status: ClassVar[int] = 4


class NotPermitted(RequestError):
    """The server does not know who asks, or does not let them."""

    exit_status: ClassVar[int] = 2


class Unavailable(RequestError):
    """The server cannot be reached, or is stopping."""

    exit_status: ClassVar[int] = 3


class Overloaded(Unavailable):
    """The server refused the request because its queue is full, or because it waited there too long."""


class AnswerMismatch(Unavailable):
    """The answer is to another request, as its checksum tells: a process of the server answers late."""


class ServerError(RequestError):
    """The server failed."""


class SharedMemoryWarning(UserWarning):
    """``shared_memory`` was asked for and cannot be had: pixels travel in messages."""


#: What a client says itself: of a deadline that passed before anything was sent, and of what nobody waits for any more.
ENCODING = "images were still being encoded here"
CALLED_OFF = "called off"
#: And of an answer whose checksum is another image's.
ANOTHERS = "the answer's checksum is another request's"
#: Triton's words for a request that names memory which it has not mapped, or no longer.
SHARED_MEMORY_LOST = "shared memory region"


@dataclass(frozen=True)
class Meaning:
    """What a status means when the message has one of the signs; any message has the sign ``""``."""

    statuses: tuple[str, ...]
    signs: tuple[str, ...]
    kind: type[RequestError]
    #: Whether another attempt may help: nothing has run, or what ran is lost, and a server may answer soon.
    again: bool
    #: A sentence with places for a :class:`Failure`'s fields.
    text: str


#: The first that fits is meant. Triton says three things with UNAVAILABLE and two with NOT_FOUND; these are its words
#: (2.51, src/core, and Envoy's 1.40).
MEANINGS = (
    Meaning(
        ("DEADLINE_EXCEEDED",),
        (ENCODING,),
        DeadlineExceeded,
        False,
        "after {timeout} s {message}: raise `timeout`, send less, or let {model} have small images",
    ),
    Meaning(
        ("DEADLINE_EXCEEDED",),
        ("",),
        DeadlineExceeded,
        False,
        "{model} at {url} did not answer within {timeout} s: raise `timeout`, or send less",
    ),
    Meaning(
        ("UNAVAILABLE", "NOT_FOUND", "INVALID_ARGUMENT", "INTERNAL"),
        ("has no available versions", "is not at ready state"),
        Unavailable,
        True,
        "{model} at {url} is being loaded, or its server stops ({message}): send again later",
    ),
    Meaning(
        ("INTERNAL", "UNAVAILABLE"),
        ("is not healthy",),
        Unavailable,
        True,
        "a process of {model} at {url} has died, another takes its place ({message}): send again later",
    ),
    Meaning(
        ("UNAVAILABLE",),
        (ANOTHERS,),
        AnswerMismatch,
        True,
        "{model} at {url} did not answer this request ({message}), so it was not believed: send again later",
    ),
    Meaning(
        ("INTERNAL",),
        ("RST_STREAM",),  # by HTTP/2's INTERNAL_ERROR, as Envoy does it when an answer's server ends half-way
        Unavailable,
        True,
        "the answer of {model} at {url} was cut off, its server or a proxy has ended ({message}): send again later",
    ),
    Meaning(
        ("NOT_FOUND", "UNAVAILABLE", "INVALID_ARGUMENT"),
        ("unknown model",),
        UnknownModel,
        False,
        "{url} does not serve {model!r} ({message}): `alexnet-client health` lists what it serves",
    ),
    Meaning(
        ("NOT_FOUND", "INVALID_ARGUMENT", "INTERNAL"),
        (SHARED_MEMORY_LOST,),
        Unavailable,
        True,
        "{url} has no shared memory of this client's any more ({message}): send again",
    ),
    Meaning(
        ("NOT_FOUND",),
        ("",),
        UnknownModel,
        False,
        "{url} does not serve {model!r} ({message}): `alexnet-client health` lists what it serves",
    ),
    Meaning(
        ("UNAVAILABLE", "RESOURCE_EXHAUSTED"),
        OVERLOAD_SIGNS,
        Overloaded,
        True,
        "{model} at {url} is overloaded ({message}): send again later",
    ),
    Meaning(
        ("RESOURCE_EXHAUSTED", "UNKNOWN"),
        ("larger than max", TOO_LARGE),
        InvalidRequest,
        False,
        "{model} at {url} refused the request for its size ({message}): send less at once",
    ),
    Meaning(
        ("RESOURCE_EXHAUSTED",),
        ("",),
        Overloaded,
        True,
        "{model} at {url} is overloaded ({message}): send again later",
    ),
    Meaning(
        ("UNAVAILABLE",),
        ("CERTIFICATE_VERIFY_FAILED", "Hostname Verification Check failed"),
        NotPermitted,
        False,
        "{url} and this client do not agree on who they are ({message}): look at `tls`, and at both certificates",
    ),
    Meaning(
        ("UNAVAILABLE",),
        ("Unwrap failed",),  # TLS 1.3: the connection stands before the server has looked at this client's certificate
        NotPermitted,
        False,
        "{url} wants a certificate of this client's, or another ({message}): give `tls` certificate and key "
        "(ALEXNET_TLS_CERTIFICATE, ALEXNET_TLS_KEY)",
    ),
    Meaning(
        ("UNAVAILABLE",),
        ("WRONG_VERSION_NUMBER",),
        NotPermitted,
        False,
        "{url} speaks no TLS ({message}): leave out `tls` (ALEXNET_TLS_CA and its like, ALEXNET_TOKEN)",
    ),
    Meaning(
        ("UNAVAILABLE",),
        ("failed to connect to all addresses; last error: UNAVAILABLE",),
        Unavailable,
        True,
        "no server answers at {url} ({message}): if it speaks TLS, give `tls` (ALEXNET_TLS_CA)",
    ),
    Meaning(("UNAVAILABLE",), ("",), Unavailable, True, "no server answers at {url} ({message})"),
    Meaning(
        ("UNAUTHENTICATED", "PERMISSION_DENIED"),
        ("",),
        NotPermitted,
        False,
        "{model} at {url} refused who asks ({message}): look at `tls`, its token, and `metadata`",
    ),
    Meaning(
        ("INVALID_ARGUMENT", "OUT_OF_RANGE", "FAILED_PRECONDITION", "ALREADY_EXISTS"),
        ("",),
        InvalidRequest,
        False,
        "{model} refused the request: {message}",
    ),
    Meaning(
        ("UNKNOWN",),
        ("while retrying upstream",),
        Unavailable,
        True,
        "a proxy at {url} lost the server behind it ({message})",
    ),
    Meaning(
        ("CANCELLED",),
        (CALLED_OFF,),
        ServerError,
        False,
        "the request to {model} at {url} was {message}",
    ),
    Meaning(
        ("CANCELLED",),  # not by this client: so a server that stops at once, or a proxy, ends what is under way
        ("",),
        Unavailable,
        True,
        "{url} dropped the request to {model} ({message}): its server stops",
    ),
    Meaning(
        ("UNKNOWN", "ABORTED", "UNIMPLEMENTED", "INTERNAL", "DATA_LOSS"),
        ("",),
        ServerError,
        False,
        "{model} at {url} failed ({status}): {message}",
    ),
)


def meaning(status: str, message: str) -> Meaning:
    """What a server's status and message mean.

    Args:
        status: name of the gRPC status code.
        message: the server's, or gRPC's own.
    """
    return next(each for each in MEANINGS if status in each.statuses and any(sign in message for sign in each.signs))


def translate(failure: Failure, places: Sequence[int] = (), names: Mapping[int, str] | None = None) -> RequestError:
    """The error that says what a server's answer means.

    Args:
        places: in the call, of the images of the request that failed.
        names: place -> file's name, of those that have one.
    """
    found = meaning(failure.status, failure.message)
    said = refusal.STEP.sub("", failure.message)
    error: RequestError
    if found.kind is InvalidRequest and (bad := refusal.reasons(said)) and max(bad) < len(places):
        error = InvalidImage({places[place]: reason for place, reason in bad.items()}, names)
    else:
        error = found.kind(found.text.format_map({**vars(failure), "message": said}) + _tried(failure.attempts))
    error.failure = failure
    return error


def _tried(attempts: int) -> str:
    return f" (sent {attempts} times)" if attempts > 1 else ""
