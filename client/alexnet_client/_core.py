"""What the two clients share: everything but moving bytes and waiting."""

from __future__ import annotations

import itertools
import secrets
import threading
import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import CancelledError
from dataclasses import replace
from typing import TYPE_CHECKING, Any, TypeVar

from tritonclient.grpc import service_pb2

from alexnet_client import _results
from alexnet_client._errors import (
    ENCODING,
    ClientClosed,
    DeadlineExceeded,
    Failure,
    InvalidImage,
    InvalidRequest,
    Overloaded,
    ServerError,
    Unavailable,
    translate,
)
from alexnet_client._exchange import Deadline, Send, Steps, Wait, exchange, tolerant
from alexnet_client._images import ImageLike
from alexnet_client._options import Options, Timeout
from alexnet_client._request import IMAGES_A_REQUEST, Request, Wanted, requests, top
from alexnet_client._results import Answer, Answered, Health, ModelMetadata, ModelState, TensorMetadata
from alexnet_client._retry import Budget, Retry
from alexnet_client._shared_memory import SharedMemory
from alexnet_client._telemetry import Telemetry
from alexnet_client.chequers import chequers
from alexnet_client.contract import CHANNELS, EMBEDDING, PIXEL_ZERO, PROBE_ID, SERVED_MODELS

if TYPE_CHECKING:
    from opentelemetry.trace import Tracer
    from prometheus_client import CollectorRegistry

#: Requests of one call under way at once: the server works on one while the next is prepared and sent.
IN_FLIGHT = 4
#: The same, of a stream, whose caller is in no hurry for any one of them.
STREAM_IN_FLIGHT = 8
#: What a model is asked to find out whether it answers, once.
_QUESTION, _ONCE = chequers([PIXEL_ZERO] * CHANNELS), Retry(attempts=1)

_T = TypeVar("_T")


class Core:
    """A client's options, its retry budget, the ids of its requests; and whether it was closed."""

    def __init__(self, options: Options, registry: CollectorRegistry | None, tracer: Tracer | None) -> None:
        self.options = options
        self.telemetry = Telemetry(options.model, registry, tracer) if registry or tracer else None
        #: Read now, so that a file that is missing is said where it is named.
        self.credentials = options.tls.credentials() if options.tls else None
        self.closed = False
        self._memory = SharedMemory(options) if options.shared_memory else None
        self._budget = Budget(options.retry.budget)
        self._prefix, self._numbers = options.id_prefix or secrets.token_hex(4), itertools.count(1)

    def deadline(self, timeout: Timeout) -> Deadline:
        """Of a call that begins now.

        Raises:
            InvalidRequest: it is no time.
        """
        return Deadline(self.options.timeout_of(timeout))

    def exchanges(
        self, images: Sequence[ImageLike], outputs: Sequence[Wanted], deadline: Deadline
    ) -> Iterator[Steps[Answered]]:
        """One for each request of a call. What cannot be encoded is an exchange that fails, in its turn."""
        made = requests(self.options.model, images, outputs, self._check(deadline), memory=self._memory)
        while True:
            began = deadline.now
            try:
                request = next(made)
            except StopIteration:
                return
            except (InvalidImage, DeadlineExceeded) as error:
                yield _fails(error)
                return
            if self.telemetry:
                self.telemetry.encoded(deadline.now - began)
            steps = exchange(self.options, request, self._id(), deadline, self._budget, self.telemetry)
            yield self._memory.through(request, steps, deadline) if self._memory else steps

    def chunk_requests(
        self, first: int, images: Sequence[ImageLike], outputs: Sequence[Wanted], stopped: threading.Event
    ) -> tuple[list[Request], dict[int, InvalidImage]]:
        """Some images of a stream, encoded; and place -> why, of those that cannot be.

        Raises:
            CancelledError: the stream was ``stopped``: nobody takes its answers any more.
        """

        def check() -> None:
            if stopped.is_set():
                raise CancelledError

        refused: dict[int, InvalidImage] = {}
        began = time.monotonic()
        made = list(requests(self.options.model, images, outputs, check, refused, first, self._memory))
        check()
        if self.telemetry:
            self.telemetry.encoded(time.monotonic() - began)
        return made, refused

    def chunk(
        self,
        first: int,
        images: Sequence[ImageLike],
        encoded: tuple[Sequence[Request], dict[int, InvalidImage]],
        timeout: float | None,
    ) -> Steps[list[Answer]]:
        """Answer each of some images of a stream; the bad ones, too."""
        made, refused = encoded
        answered: list[Answered] = []
        for request in made:
            deadline = Deadline(timeout)
            steps = tolerant(self.options, request, self._id(), deadline, self._budget, refused, self.telemetry)
            got = yield from self._memory.through(request, steps, deadline) if self._memory else steps
            answered += [got] if got else []
        return _results.one_by_one(answered, dict(enumerate(images, first)), refused)

    def health(self, deadline: Deadline, *, infer: bool = False) -> Steps[Health]:
        """Ask whether the server is up, and which models it serves."""
        ask = self._ask
        metadata = yield from ask("ServerMetadata", service_pb2.ServerMetadataRequest(), deadline)
        live = yield from ask("ServerLive", service_pb2.ServerLiveRequest(), deadline)
        ready = yield from ask("ServerReady", service_pb2.ServerReadyRequest(), deadline)
        models = []
        for name in SERVED_MODELS:
            if (yield from ask("ModelReady", service_pb2.ModelReadyRequest(name=name), deadline)).ready:
                models.append(name)
        answered = []
        for number, name in enumerate(models if infer else ()):
            (request,) = requests(name, [_QUESTION], [Wanted(EMBEDDING)])
            options = replace(self.options, model=name, retry=_ONCE, shared_memory=False)
            # Each has its share of what is left, so that one that hangs does not make the others look dead.
            share = None if deadline.left is None else deadline.left / (len(models) - number)
            try:
                yield from exchange(options, request, f"{PROBE_ID}-{self._id()}", Deadline(share), self._budget)
                answered.append(name)
            except Overloaded:  # full is not dead
                answered.append(name)
            except (Unavailable, ServerError, DeadlineExceeded):
                pass
        return Health(
            live.live,
            ready.ready,
            metadata.name,
            metadata.version,
            tuple(models),
            tuple(answered) if infer else None,
        )

    def models(self, deadline: Deadline) -> Steps[list[ModelState]]:
        """Ask for the repository's index."""
        index = yield from self._ask("RepositoryIndex", service_pb2.RepositoryIndexRequest(), deadline)
        return [ModelState(each.name, each.version, each.state, each.reason) for each in index.models]

    def metadata(self, deadline: Deadline) -> Steps[ModelMetadata]:
        """Ask for the model's tensors."""
        said = yield from self._ask(
            "ModelMetadata", service_pb2.ModelMetadataRequest(name=self.options.model), deadline
        )
        inputs, outputs = (
            tuple(TensorMetadata(tensor.name, tensor.datatype, tuple(tensor.shape)) for tensor in tensors)
            for tensors in (said.inputs, said.outputs)
        )
        return ModelMetadata(said.name, tuple(said.versions), inputs, outputs)

    def close(self) -> Send | None:
        """The client is closed; what to tell the server before, if anything."""
        self.closed = True
        return self._memory.close() if self._memory else None

    def _id(self) -> str:
        return f"{self._prefix}-{next(self._numbers)}"

    def _ask(self, method: str, message: Any, deadline: Deadline) -> Steps[Any]:
        yield Send(method, message, deadline.left, self.options.call_metadata())
        reply = yield Wait()
        assert reply is not None
        if reply.response is None:
            error = translate(self._failure(reply.status, reply.message, deadline))
            error.__cause__ = reply.cause
            raise error
        return reply.response

    def _failure(self, status: str, message: str, deadline: Deadline, attempts: int = 1) -> Failure:
        return Failure(
            status, message, self.options.name, self.options.model, attempts=attempts, timeout=deadline.timeout
        )

    def _check(self, deadline: Deadline) -> Callable[[], None]:
        """Images are decoded within the deadline, too."""

        def check() -> None:
            if not deadline.allows(0):
                raise translate(self._failure("DEADLINE_EXCEEDED", ENCODING, deadline, 0))

        return check

    def describe(self, kind: str) -> str:
        """A client's ``repr``; without what may be secret."""
        options = self.options
        timeout = "None" if options.timeout is None else f"{options.timeout:g}"
        return f"{kind}({options.name!r}, model={options.model!r}, timeout={timeout}{', closed' * self.closed})"

    def refuse_when_closed(self, cause: BaseException | None = None) -> None:
        """To be called before a call, and when one has failed.

        Raises:
            ClientClosed: the client was closed.
        """
        if self.closed:
            raise ClientClosed(f"the client of {self.options.name} was closed: make a new one") from cause


def wanted(top_k: int | None, embed: bool) -> list[Wanted]:
    """What is wanted of each image of a stream.

    Raises:
        InvalidRequest: nothing is.
    """
    outputs = [] if top_k is None else [top(top_k)]
    outputs += [Wanted(EMBEDDING)] if embed else []
    if not outputs:
        raise InvalidRequest("nothing is asked for: give top_k=5, or embed=True, or both")
    return outputs


def chunks(images: Iterable[ImageLike]) -> Iterator[tuple[int, list[ImageLike]]]:
    """As many images as travel together, and the place of the first."""
    rest, first = iter(images), 0
    while chunk := list(itertools.islice(rest, IMAGES_A_REQUEST)):
        yield first, chunk
        first += len(chunk)


def in_flight(count: int) -> int:
    """Requests of a stream under way at once.

    Raises:
        InvalidRequest: there can be no so many.
    """
    if isinstance(count, bool) or not isinstance(count, int) or count < 1:
        raise InvalidRequest(f"in_flight is {count!r}: want a whole number, at least 1")
    return count


def _fails(error: Exception) -> Steps[Any]:
    raise error
    yield
