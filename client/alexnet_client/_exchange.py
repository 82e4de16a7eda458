"""One request's life, from its first attempt to its answer: what to do next, and when. Nothing here moves bytes.

A generator asks its driver to :class:`Send` an attempt or to :class:`Wait` for a reply to any of those under way, and
returns the answer. The two clients drive the same one, in their own way to wait; a test drives it with no clock.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Generator, Mapping
from dataclasses import replace
from types import MappingProxyType
from typing import Any, NamedTuple, TypeVar, Union

from alexnet_client._errors import ANOTHERS, Failure, InvalidImage, meaning, translate
from alexnet_client._options import Options
from alexnet_client._request import Request
from alexnet_client._results import Answered, belongs_to
from alexnet_client._retry import Budget
from alexnet_client._telemetry import HEDGE, SILENT, Observer, Telemetry

MICROSECONDS = 1_000_000
#: Triton's queue keeps such a number.
_LONGEST = 2**62


class Deadline:
    """When a call ends, whatever has become of it."""

    def __init__(self, timeout: float | None, clock: Callable[[], float] = time.monotonic) -> None:
        """Begin.

        Args:
            timeout: seconds from now; None is never.
        """
        self.timeout, self._clock = timeout, clock
        self._at = None if timeout is None else clock() + timeout

    @property
    def now(self) -> float:
        """Seconds, of some clock that only goes forward."""
        return self._clock()

    @property
    def left(self) -> float | None:
        """Seconds; not below 0."""
        return None if self._at is None else max(0.0, self._at - self._clock())

    def allows(self, seconds: float) -> bool:
        """Whether there is time for another attempt after so many seconds."""
        return self._at is None or self._clock() + seconds < self._at


class Send(NamedTuple):
    """Put an attempt under way."""

    #: Of the KServe v2 service; its message, of ``ModelInfer`` a :class:`Request`.
    method: str
    message: Any
    #: Seconds that it may take.
    timeout: float | None
    metadata: tuple[tuple[str, str], ...] = ()


class Wait(NamedTuple):
    """Wait for the next reply: so many seconds, or None for as long as it takes."""

    seconds: float | None = None


class Reply(NamedTuple):
    """How an attempt ended: with a response, or with what gRPC raised."""

    response: Any
    status: str = "OK"
    message: str = ""
    cause: Exception | None = None
    #: What came before the answer, where telemetry is wanted.
    headers: Mapping[str, str] = MappingProxyType({})


_T = TypeVar("_T")
#: Asks for one, is sent the reply, or None: to what was sent, and when none came in the seconds to wait.
Steps = Generator[Union[Send, Wait], Union[Reply, None], _T]  # noqa: UP007


def exchange(
    options: Options,
    request: Request,
    request_id: str,
    deadline: Deadline,
    budget: Budget,
    telemetry: Telemetry | None = None,
) -> Steps[Answered]:
    """Send a request until it is answered, or until nothing more can help.

    Raises:
        RequestError: what the last attempt met.
    """
    if telemetry is None:
        return _attempts(options, request, request_id, deadline, budget, SILENT)
    observer = telemetry.observe(request_id, len(request.places))
    return _observed(_attempts(options, request, request_id, deadline, budget, observer), observer)


def _observed(attempts: Steps[Answered], observer: Observer) -> Steps[Answered]:
    try:
        answered = yield from attempts
    except BaseException as error:  # also when nobody asks for the next step any more
        observer.ended(error)
        raise
    observer.ended(None)
    return answered


def _attempts(
    options: Options, request: Request, request_id: str, deadline: Deadline, budget: Budget, observer: Observer
) -> Steps[Answered]:
    retry = options.retry
    request.message.model_name, request.message.id = options.model, request_id
    budget.deposit()
    attempts = under_way = 0
    while True:
        attempts, under_way = attempts + 1, under_way + 1
        began = deadline.now
        yield _attempt(options, request, deadline, observer)
        expected = request.expected  # which takes a moment, while it travels
        while under_way:
            hedges = retry.hedge is not None and attempts < retry.attempts
            reply = yield Wait(retry.hedge if hedges else None)
            if reply is None:
                if not deadline.allows(0) or not budget.withdraw():
                    retry = replace(retry, hedge=None)
                    continue
                observer.again(HEDGE)
                attempts, under_way = attempts + 1, under_way + 1
                yield _attempt(options, request, deadline, observer)
                continue
            under_way -= 1
            observer.attempted(deadline.now - began, reply.headers)
            if reply.response is not None:
                if belongs_to(reply.response, expected, len(request.places)):
                    return Answered(request.places, reply.response)
                reply = Reply(None, "UNAVAILABLE", ANOTHERS)
            failure = Failure(
                reply.status, reply.message, options.name, options.model, request_id, attempts, deadline.timeout
            )
            error = translate(failure, request.places, request.names)
            error.__cause__ = reply.cause
            if not meaning(failure.status, failure.message).again:
                raise error
        pause = retry.pause(attempts)
        if attempts >= retry.attempts or not deadline.allows(pause) or not budget.withdraw():
            raise error
        observer.again(type(error).__name__)
        if (yield Wait(pause)) is not None:  # called off
            raise error
        observer.paused(pause)


def tolerant(
    options: Options,
    request: Request,
    request_id: str,
    deadline: Deadline,
    budget: Budget,
    refused: dict[int, InvalidImage],
    telemetry: Telemetry | None = None,
) -> Steps[Answered | None]:
    """As :func:`exchange`, without those images that the server refuses; None if that is all of them.

    Args:
        refused: place in the call -> why; is added to.
    """
    while request.places:
        try:
            return (yield from exchange(options, request, request_id, deadline, budget, telemetry))
        except InvalidImage as error:
            for place, reason in error.images.items():
                refused[place] = InvalidImage({place: reason}, request.names)
            request = request.without(error.images)
    return None


def _attempt(options: Options, request: Request, deadline: Deadline, observer: Observer) -> Send:
    left = deadline.left
    if left is not None and request.waits_in_queue:
        # Whoever has given up need not be worked for; and 0 would be for ever.
        request.message.parameters["timeout"].int64_param = min(_LONGEST, max(1, int(left * MICROSECONDS)))
    return Send("ModelInfer", request, left, options.call_metadata() + observer.metadata())
