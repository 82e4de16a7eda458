"""The synchronous client: it moves bytes and waits; what is sent, and what is done next, is decided beside it."""

from __future__ import annotations

import threading
import time
from collections import deque
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from concurrent.futures import FIRST_COMPLETED, Future, ThreadPoolExecutor, wait
from types import TracebackType
from typing import TYPE_CHECKING, Any, TypeVar

import grpc
import numpy as np
from numpy.typing import NDArray

from alexnet_client import _channel, _core, _results
from alexnet_client._core import IN_FLIGHT, STREAM_IN_FLIGHT, Core
from alexnet_client._errors import RequestError
from alexnet_client._exchange import Reply, Send, Steps
from alexnet_client._images import ImageLike, as_list
from alexnet_client._options import DEFAULT_TIMEOUT, DEFAULT_URL, OMITTED, Options, Timeout
from alexnet_client._request import Wanted, top
from alexnet_client._results import (
    Answer,
    Answered,
    Health,
    ModelMetadata,
    ModelState,
    Prediction,
    PredictionsAndEmbedding,
)
from alexnet_client._retry import Retry
from alexnet_client._running import Running, failed, headers
from alexnet_client._shared_memory import FAREWELL_PAUSES, IN_USE
from alexnet_client._tls import TLS
from alexnet_client.contract import DEFAULT_MODEL, EMBEDDING, PROBABILITIES
from alexnet_client.outputs import Outputs

if TYPE_CHECKING:
    from opentelemetry.trace import Tracer
    from prometheus_client import CollectorRegistry

_Self = TypeVar("_Self", bound="AlexNetClient")
_T = TypeVar("_T")


class AlexNetClient:
    """Classify and embed images with an AlexNet that Triton serves. Use it in a ``with`` statement, from any thread.

    ``model`` decides where images are decoded: ``alexnet`` takes files and decodes on the server; ``alexnet_int8``,
    ``alexnet_fp16``, ``alexnet_fp32`` and ``alexnet_fp8`` take pixels, which this client makes of what you hand over,
    by the same code.
    """

    def __init__(
        self,
        url: str | Sequence[str] = DEFAULT_URL,
        model: str = DEFAULT_MODEL,
        timeout: float | None = DEFAULT_TIMEOUT,
        *,
        retry: Retry | None = None,
        metadata: Mapping[str, str] | None = None,
        tls: TLS | None = None,
        registry: CollectorRegistry | None = None,
        tracer: Tracer | None = None,
        id_prefix: str = "",
        shared_memory: bool = False,
    ) -> None:
        """Name the server; nothing is sent yet.

        Args:
            url: ``host:port`` of Triton's gRPC endpoint; addresses of several replicas, asked in turn; or
                ``dns:///name:port`` for all addresses of a name.
            timeout: seconds until a call must be answered, its retries included, a day at most; None is for ever. The
                server stops working on it then, too.
            retry: what is sent again, and when.
            metadata: sent along with each call.
            tls: encrypt, and who must be who; None is plain text.
            registry: where this client's metrics are kept (``prometheus-client``).
            tracer: what makes a span of each request (OpenTelemetry), which the server's spans join.
            id_prefix: how the ids of its requests begin, by which the server's log and traces tell whose they are.
            shared_memory: let pixels go through memory that a server on this machine maps, if it allows that; where it
                does not they travel in messages, after one :class:`SharedMemoryWarning`.

        Raises:
            InvalidRequest: one of them cannot be meant.
            FileError: a file of ``tls`` cannot be read.
        """
        options = Options(url, model, timeout, retry or Retry(), dict(metadata or {}), tls, id_prefix, shared_memory)
        self._core = Core(options, registry, tracer)
        self._channel = _channel.connect(self._core.options, self._core.credentials, grpc)
        self._stub = _channel.stub(self._channel)

    @property
    def url(self) -> str:
        """``host:port`` of the server; several, with commas."""
        return self._core.options.name

    @property
    def model(self) -> str:
        """The model that is asked."""
        return self._core.options.model

    @property
    def timeout(self) -> float | None:
        """Seconds a call, unless it says otherwise."""
        return self._core.options.timeout

    def classify(
        self, images: ImageLike | Iterable[ImageLike], top_k: int = 5, *, timeout: Timeout = OMITTED
    ) -> list[list[Prediction]]:
        """The ``top_k`` most probable classes of each image, the most probable first.

        Args:
            images: one image or many: paths, bytes of image files, files open for reading bytes, Pillow images, or
                ``uint8[H, W, 3]`` arrays.
            timeout: in place of the client's; None is for ever.

        Raises:
            InvalidImage: images cannot be used; says which and why.
            InvalidRequest: ``top_k`` is less than 1, or ``timeout`` is no time.
            UnknownModel, DeadlineExceeded, NotPermitted, Unavailable, Overloaded, ServerError: see the error tree.
            ClientClosed: the client was closed.
        """
        return _results.predictions(self._ask(images, timeout, top(top_k)))

    def embed(self, images: ImageLike | Iterable[ImageLike], *, timeout: Timeout = OMITTED) -> NDArray[np.float32]:
        """The 4096-long penultimate layer for each image, ``float32[N, 4096]``; similar images are neighbours in it.

        Raises:
            as :meth:`classify`.
        """
        return _results.embedding(self._ask(images, timeout, Wanted(EMBEDDING)))

    def classify_and_embed(
        self, images: ImageLike | Iterable[ImageLike], top_k: int = 5, *, timeout: Timeout = OMITTED
    ) -> PredictionsAndEmbedding:
        """What :meth:`classify` and :meth:`embed` answer, for the cost of one of them.

        Raises:
            as :meth:`classify`.
        """
        answers = self._ask(images, timeout, top(top_k), Wanted(EMBEDDING))
        return PredictionsAndEmbedding(_results.predictions(answers), _results.embedding(answers))

    def infer(self, images: ImageLike | Iterable[ImageLike], *, timeout: Timeout = OMITTED) -> Outputs:
        """The network's outputs as they are: the probability of every class, ``float32[N, K]``, and the embedding.

        Raises:
            as :meth:`classify`.
        """
        return _results.outputs(self._ask(images, timeout, Wanted(PROBABILITIES), Wanted(EMBEDDING)))

    def stream(
        self,
        images: Iterable[ImageLike],
        top_k: int | None = None,
        *,
        embed: bool = False,
        ordered: bool = True,
        in_flight: int = STREAM_IN_FLIGHT,
        timeout: Timeout = OMITTED,
    ) -> Iterator[Answer]:
        """Answers for any number of images, while they are read; what is held at once is bounded.

        An image that cannot be used is an answer that says why, and hurts no other.

        Args:
            images: as of :meth:`classify`, as many as there are; read in the thread that asks for answers. They are not
                copied: an array stays as it is until its answer is there.
            top_k: classes of each; None for none.
            embed: whether to answer the embedding.
            ordered: whether answers come in the images' order, or as they are ready.
            in_flight: requests, of up to 32 images, under way at once.
            timeout: seconds a request, its retries included.

        Raises:
            as :meth:`classify`, but InvalidImage. Every answer that came before is good.
        """
        outputs, count = _core.wanted(top_k, embed), _core.in_flight(in_flight)
        return self._stream(_core.chunks(images), outputs, ordered, count, self._core.options.timeout_of(timeout))

    def health(self, *, infer: bool = False, timeout: Timeout = OMITTED) -> Health:
        """Whether the server is up, and which models it serves.

        Args:
            infer: ask each model for a real inference, too.

        Raises:
            Unavailable, DeadlineExceeded, NotPermitted: it does not answer.
        """
        return self._run(self._core.health(self._core.deadline(timeout), infer=infer))

    def models(self, *, timeout: Timeout = OMITTED) -> list[ModelState]:
        """The models of the server's repository, and the state of each.

        Raises:
            as :meth:`health`.
        """
        return self._run(self._core.models(self._core.deadline(timeout)))

    def metadata(self, *, timeout: Timeout = OMITTED) -> ModelMetadata:
        """The tensors of this client's model, as the server has them.

        Raises:
            UnknownModel: it is not served.
            as :meth:`health`.
        """
        return self._run(self._core.metadata(self._core.deadline(timeout)))

    def close(self) -> None:
        """Close the connection; again is harmless. Calls under way in other threads end with an error."""
        farewell = self._core.close()
        if farewell is not None:
            for pause in FAREWELL_PAUSES:
                if IN_USE not in self._call(farewell).message:
                    break
                time.sleep(pause)
        self._channel.close()

    def __enter__(self: _Self) -> _Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def __repr__(self) -> str:
        return self._core.describe(type(self).__name__)

    def _ask(self, images: ImageLike | Iterable[ImageLike], timeout: Timeout, *outputs: Wanted) -> list[Answered]:
        """Answers in order; few requests are under way, so what is held does not grow with the images' bytes."""
        self._core.refuse_when_closed()
        images = as_list(images)
        deadline = self._core.deadline(timeout)
        if len(images) == 1 and self._core.options.retry.hedge is None:
            return [self._run(steps) for steps in self._core.exchanges(images, outputs, deadline)]
        under_way: deque[Running[Answered]] = deque()
        answers = []
        try:
            for steps in self._core.exchanges(images, outputs, deadline):
                under_way.append(self._start(steps))
                if len(under_way) == IN_FLIGHT:
                    answers.append(under_way.popleft().result())
            while under_way:
                answers.append(under_way.popleft().result())
        finally:
            for running in under_way:
                running.cancel()
        return answers

    def _stream(
        self,
        chunks: Iterator[tuple[int, list[ImageLike]]],
        outputs: Sequence[Wanted],
        ordered: bool,
        in_flight: int,
        timeout: float | None,
    ) -> Iterator[Answer]:
        """Threads encode, send and wait; this one reads images and hands out answers."""
        window: deque[Future[list[Answer]]] = deque()
        running: set[Running[list[Answer]]] = set()
        stopped = threading.Event()

        def answer(first: int, images: list[ImageLike]) -> list[Answer]:
            encoded = self._core.chunk_requests(first, images, outputs, stopped)
            mine = self._start(self._core.chunk(first, images, encoded, timeout))
            running.add(mine)
            try:
                if stopped.is_set():
                    mine.cancel()
                return mine.result()
            finally:
                running.discard(mine)

        def next_done() -> list[Answer]:
            if not ordered:
                done, _ = wait(window, return_when=FIRST_COMPLETED)
                first = next(future for future in window if future in done)
                window.remove(first)
                return first.result()
            return window.popleft().result()

        with ThreadPoolExecutor(in_flight, thread_name_prefix="alexnet-stream") as pool:
            try:
                for first, images in chunks:
                    window.append(pool.submit(answer, first, images))
                    if len(window) > in_flight:  # one more, so that no thread waits for this one
                        yield from next_done()
                while window:
                    yield from next_done()
            finally:
                stopped.set()
                for future in window:
                    future.cancel()
                for each in list(running):
                    each.cancel()

    def _run(self, steps: Steps[_T]) -> _T:
        """Go through the steps here, one attempt at a time: without gRPC's threads it costs a third less."""
        self._core.refuse_when_closed()
        try:
            step = next(steps)
            while True:
                if isinstance(step, Send):
                    reply = self._call(step)
                    step = steps.send(None)  # waits for it
                    step = steps.send(reply)
                else:
                    time.sleep(step.seconds or 0)
                    step = steps.send(None)
        except StopIteration as end:
            value: _T = end.value
            return value
        except RequestError as error:
            self._core.refuse_when_closed(error)
            raise

    def _call(self, step: Send) -> Reply:
        method = getattr(self._stub, step.method)
        try:
            if self._core.telemetry is None:
                return Reply(self._guarded(method, step))
            response, call = self._guarded(method.with_call, step)
            return Reply(response, headers=headers(call))
        except grpc.RpcError as error:
            return failed(error)

    def _start(self, steps: Steps[_T]) -> Running[_T]:
        self._core.refuse_when_closed()
        return Running(steps, lambda step: self._guarded(getattr(self._stub, step.method).future, step), self._core)

    def _guarded(self, method: Callable[..., Any], step: Send) -> Any:
        try:
            return method(step.message, timeout=step.timeout, metadata=step.metadata)
        except ValueError as error:  # gRPC's, of a closed channel
            self._core.refuse_when_closed(error)
            raise
