"""The asynchronous client: as the synchronous one, in an event loop."""

from __future__ import annotations

import asyncio
import threading
from collections import deque
from collections.abc import AsyncIterable, AsyncIterator, Iterable, Iterator, Mapping, Sequence
from types import TracebackType
from typing import TYPE_CHECKING, Any, TypeVar

import grpc
import numpy as np
from numpy.typing import NDArray

from alexnet_client import _channel, _core, _results
from alexnet_client._core import IN_FLIGHT, STREAM_IN_FLIGHT, Core
from alexnet_client._errors import RequestError
from alexnet_client._exchange import Reply, Send, Steps, Wait
from alexnet_client._images import ImageLike, as_list, at_once
from alexnet_client._options import DEFAULT_TIMEOUT, DEFAULT_URL, OMITTED, Options, Timeout
from alexnet_client._request import IMAGES_A_REQUEST, Wanted, takes_files, top
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
from alexnet_client._shared_memory import FAREWELL_PAUSES, IN_USE
from alexnet_client._tls import TLS
from alexnet_client.contract import DEFAULT_MODEL, EMBEDDING, PROBABILITIES
from alexnet_client.outputs import Outputs

if TYPE_CHECKING:
    from opentelemetry.trace import Tracer
    from prometheus_client import CollectorRegistry

_Self = TypeVar("_Self", bound="AsyncAlexNetClient")
_T = TypeVar("_T")


class AsyncAlexNetClient:
    """:class:`AlexNetClient` for one event loop: the same calls, answers and errors; use it in ``async with``.

    What takes time on a processor, decoding images here, is done in a thread beside the loop.
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
        """As :class:`AlexNetClient`.

        Raises:
            InvalidRequest: one of them cannot be meant.
            FileError: a file of ``tls`` cannot be read.
        """
        options = Options(url, model, timeout, retry or Retry(), dict(metadata or {}), tls, id_prefix, shared_memory)
        self._core = Core(options, registry, tracer)
        #: Channel and stub, and the event loop that they are of.
        self._opened: tuple[Any, Any, asyncio.AbstractEventLoop] | None = None

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

    async def classify(
        self, images: ImageLike | Iterable[ImageLike], top_k: int = 5, *, timeout: Timeout = OMITTED
    ) -> list[list[Prediction]]:
        """As :meth:`AlexNetClient.classify`."""
        return _results.predictions(await self._ask(images, timeout, top(top_k)))

    async def embed(
        self, images: ImageLike | Iterable[ImageLike], *, timeout: Timeout = OMITTED
    ) -> NDArray[np.float32]:
        """As :meth:`AlexNetClient.embed`."""
        return _results.embedding(await self._ask(images, timeout, Wanted(EMBEDDING)))

    async def classify_and_embed(
        self, images: ImageLike | Iterable[ImageLike], top_k: int = 5, *, timeout: Timeout = OMITTED
    ) -> PredictionsAndEmbedding:
        """As :meth:`AlexNetClient.classify_and_embed`."""
        answers = await self._ask(images, timeout, top(top_k), Wanted(EMBEDDING))
        return PredictionsAndEmbedding(_results.predictions(answers), _results.embedding(answers))

    async def infer(self, images: ImageLike | Iterable[ImageLike], *, timeout: Timeout = OMITTED) -> Outputs:
        """As :meth:`AlexNetClient.infer`."""
        return _results.outputs(await self._ask(images, timeout, Wanted(PROBABILITIES), Wanted(EMBEDDING)))

    def stream(
        self,
        images: Iterable[ImageLike] | AsyncIterable[ImageLike],
        top_k: int | None = None,
        *,
        embed: bool = False,
        ordered: bool = True,
        in_flight: int = STREAM_IN_FLIGHT,
        timeout: Timeout = OMITTED,
    ) -> AsyncIterator[Answer]:
        """As :meth:`AlexNetClient.stream`; ``images`` may be an asynchronous iterable, too."""
        outputs, count = _core.wanted(top_k, embed), _core.in_flight(in_flight)
        return self._stream(images, outputs, ordered, count, self._core.options.timeout_of(timeout))

    async def health(self, *, infer: bool = False, timeout: Timeout = OMITTED) -> Health:
        """As :meth:`AlexNetClient.health`."""
        return await self._run(self._core.health(self._core.deadline(timeout), infer=infer))

    async def models(self, *, timeout: Timeout = OMITTED) -> list[ModelState]:
        """As :meth:`AlexNetClient.models`."""
        return await self._run(self._core.models(self._core.deadline(timeout)))

    async def metadata(self, *, timeout: Timeout = OMITTED) -> ModelMetadata:
        """As :meth:`AlexNetClient.metadata`."""
        return await self._run(self._core.metadata(self._core.deadline(timeout)))

    async def close(self) -> None:
        """Close the connection; again is harmless. Calls under way in other tasks end with an error."""
        farewell = self._core.close()
        if farewell is not None:
            for pause in FAREWELL_PAUSES:
                if IN_USE not in (await self._attempt(farewell)).message:
                    break
                await asyncio.sleep(pause)
        if self._opened is not None and self._opened[2] is asyncio.get_running_loop():  # another took it along
            await self._opened[0].close()

    async def __aenter__(self: _Self) -> _Self:
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self.close()

    def __repr__(self) -> str:
        return self._core.describe(type(self).__name__)

    async def _ask(self, images: ImageLike | Iterable[ImageLike], timeout: Timeout, *outputs: Wanted) -> list[Answered]:
        """Answers in order; few requests are under way, so what is held does not grow with the images' bytes."""
        self._core.refuse_when_closed()
        deadline = self._core.deadline(timeout)
        aside = not at_once(images, takes_files(self.model))
        images = await asyncio.to_thread(as_list, images) if aside else as_list(images)
        exchanges = self._core.exchanges(images, outputs, deadline)
        if len(images) == 1 and not aside:
            return [await self._run(next(exchanges))]
        under_way: deque[asyncio.Task[Answered]] = deque()
        answers = []
        try:
            while (steps := await _next(exchanges, aside)) is not None:
                under_way.append(asyncio.ensure_future(self._run(steps)))
                if len(under_way) == IN_FLIGHT:
                    answers.append(await under_way.popleft())
            while under_way:
                answers.append(await under_way.popleft())
        finally:
            await _call_off(under_way)
        return answers

    async def _stream(
        self,
        images: Iterable[ImageLike] | AsyncIterable[ImageLike],
        outputs: Sequence[Wanted],
        ordered: bool,
        in_flight: int,
        timeout: float | None,
    ) -> AsyncIterator[Answer]:
        window: deque[asyncio.Task[list[Answer]]] = deque()
        stopped = threading.Event()

        async def answer(first: int, chunk: list[ImageLike]) -> list[Answer]:
            encoded = await asyncio.to_thread(self._core.chunk_requests, first, chunk, outputs, stopped)
            return await self._run(self._core.chunk(first, chunk, encoded, timeout))

        async def next_done() -> list[Answer]:
            if not ordered:
                done, _ = await asyncio.wait(window, return_when=asyncio.FIRST_COMPLETED)
                first = next(task for task in window if task in done)
                window.remove(first)
                return first.result()
            return await window.popleft()

        try:
            async for first, chunk in _chunks(images):
                window.append(asyncio.ensure_future(answer(first, chunk)))
                if len(window) == in_flight:
                    for each in await next_done():
                        yield each
            while window:
                for each in await next_done():
                    yield each
        finally:
            stopped.set()
            await _call_off(window)

    async def _run(self, steps: Steps[_T]) -> _T:
        """Go through the steps to their end."""
        under_way: set[asyncio.Task[Reply]] = set()
        self._core.refuse_when_closed()
        self._refuse_elsewhere()
        try:
            step = next(steps)
            while True:
                if isinstance(step, Send):
                    sent, step = step, steps.send(None)
                    if not under_way and isinstance(step, Wait) and step.seconds is None:
                        step = steps.send(await self._attempt(sent))
                    else:
                        under_way.add(asyncio.ensure_future(self._attempt(sent)))
                elif not under_way:
                    await asyncio.sleep(step.seconds or 0)
                    step = steps.send(None)
                else:
                    done, _ = await asyncio.wait(under_way, timeout=step.seconds, return_when=asyncio.FIRST_COMPLETED)
                    first = next(iter(done), None)  # others are still there, and done, the next time
                    under_way -= {first} if first else set()
                    step = steps.send(first.result() if first else None)
        except StopIteration as end:
            value: _T = end.value
            return value
        except RequestError as error:
            self._core.refuse_when_closed(error)
            raise
        finally:
            if under_way:
                await _call_off(under_way)

    async def _attempt(self, step: Send) -> Reply:
        try:
            method = getattr(self._stub(), step.method)
            call = method(step.message, timeout=step.timeout, metadata=step.metadata)
            response = await call
            if self._core.telemetry is None:
                return Reply(response)
            headers = {str(key): str(value) for key, value in await call.initial_metadata()}
            return Reply(response, headers=headers)
        except grpc.aio.AioRpcError as error:
            return Reply(None, error.code().name, error.details() or "no details", error)
        except (grpc.aio.UsageError, asyncio.CancelledError) as error:  # the channel was closed
            self._core.refuse_when_closed(error)
            raise

    def _stub(self) -> Any:
        """Made in the event loop, which the client may be older than."""
        if self._opened is None:
            channel = _channel.connect(self._core.options, self._core.credentials, grpc.aio)
            self._opened = channel, _channel.stub(channel), asyncio.get_running_loop()
        return self._opened[1]

    def _refuse_elsewhere(self) -> None:
        """gRPC's connection is of one event loop, and in another one it fails in strange ways."""
        if self._opened is not None and self._opened[2] is not asyncio.get_running_loop():
            raise RuntimeError(
                f"the client of {self.url} was used in another event loop: make a client for each, "
                "or ask for everything within one asyncio.run"
            )


async def _next(steps: Iterator[_T], aside: bool) -> _T | None:
    return await asyncio.to_thread(next, steps, None) if aside else next(steps, None)


async def _call_off(tasks: Iterable[asyncio.Task[Any]]) -> None:
    tasks = list(tasks)
    for task in tasks:
        task.cancel()
    await asyncio.gather(*tasks, return_exceptions=True)


async def _chunks(
    images: Iterable[ImageLike] | AsyncIterable[ImageLike],
) -> AsyncIterator[tuple[int, list[ImageLike]]]:
    if not isinstance(images, AsyncIterable):
        for each in _core.chunks(images):
            yield each
        return
    first, chunk = 0, []
    async for image in images:
        chunk.append(image)
        if len(chunk) == IMAGES_A_REQUEST:
            yield first, chunk
            first, chunk = first + len(chunk), []
    if chunk:
        yield first, chunk
