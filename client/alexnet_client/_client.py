"""The synchronous client: it moves bytes; what they are is decided in the modules beside it."""

from __future__ import annotations

import time
from collections import deque
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from types import TracebackType
from typing import Any, TypeVar

import grpc
import numpy as np
from numpy.typing import NDArray
from tritonclient.grpc import service_pb2
from tritonclient.grpc.service_pb2_grpc import GRPCInferenceServiceStub

from alexnet_client import _request, _results, _retry
from alexnet_client._errors import InvalidImage, InvalidRequest, translate
from alexnet_client._images import ImageLike, as_list
from alexnet_client._options import DEFAULT_TIMEOUT, DEFAULT_URL, Options
from alexnet_client._request import Part, Wanted, top
from alexnet_client._results import Health, Prediction, PredictionsAndEmbedding
from alexnet_client.contract import DEFAULT_MODEL, EMBEDDING, PROBABILITIES, SERVED_MODELS
from alexnet_client.errors import AlexNetError
from alexnet_client.outputs import Outputs

#: Requests of one call under way at once: the server works on one while the next is prepared and sent.
IN_FLIGHT = 4
#: A request carries files, an answer any number of classes; the contract's limits are the server's to keep.
CHANNEL = (("grpc.max_send_message_length", -1), ("grpc.max_receive_message_length", -1))

_Self = TypeVar("_Self", bound="AlexNetClient")


@dataclass(frozen=True)
class _Sent:
    """A request under way."""

    part: Part
    message: service_pb2.ModelInferRequest
    #: On the monotonic clock.
    deadline: float
    future: grpc.Future
    attempts: int


class AlexNetClient:
    """Classify and embed images with an AlexNet that Triton serves. Use it in a ``with`` statement, from any thread.

    ``model`` decides where images are decoded: ``alexnet`` takes files and decodes on the server; ``alexnet_int8``,
    ``alexnet_fp16``, ``alexnet_fp32`` and ``alexnet_fp8`` take pixels, which this client makes of what you hand over,
    by the same code.
    """

    def __init__(self, url: str = DEFAULT_URL, model: str = DEFAULT_MODEL, timeout: float = DEFAULT_TIMEOUT) -> None:
        """Name the server; nothing is sent yet.

        Args:
            url: ``host:port`` of Triton's gRPC endpoint.
            timeout: seconds until a request of up to 32 images must be answered, a day at most. The server stops
                waiting then, too.

        Raises:
            InvalidRequest: ``timeout`` is no such number, or ``url`` is not ``host:port``.
        """
        self._options = Options(url, model, timeout)
        self._channel = grpc.insecure_channel(url, options=CHANNEL)
        self._stub = GRPCInferenceServiceStub(self._channel)
        self._closed = False

    @property
    def url(self) -> str:
        """``host:port`` of the server."""
        return self._options.url

    @property
    def model(self) -> str:
        """The model that is asked."""
        return self._options.model

    @property
    def timeout(self) -> float:
        """Seconds a request."""
        return self._options.timeout

    def classify(self, images: ImageLike | Iterable[ImageLike], top_k: int = 5) -> list[list[Prediction]]:
        """The ``top_k`` most probable classes of each image, the most probable first.

        Args:
            images: one image or many: paths, bytes of image files, files open for reading bytes, Pillow images, or
                ``uint8[H, W, 3]`` arrays.

        Raises:
            InvalidImage: images cannot be used; says which and why.
            InvalidRequest: ``top_k`` is less than 1, or the client was closed.
            UnknownModel, DeadlineExceeded, Unavailable, Overloaded, ServerError: see the error tree.
        """
        return _results.predictions(self._ask(images, top(top_k)))

    def embed(self, images: ImageLike | Iterable[ImageLike]) -> NDArray[np.float32]:
        """The 4096-long penultimate layer for each image, ``float32[N, 4096]``; similar images are neighbours in it.

        Raises:
            as :meth:`classify`.
        """
        return _results.embedding(self._ask(images, Wanted(EMBEDDING)))

    def classify_and_embed(self, images: ImageLike | Iterable[ImageLike], top_k: int = 5) -> PredictionsAndEmbedding:
        """What :meth:`classify` and :meth:`embed` answer, for the cost of one of them.

        Raises:
            as :meth:`classify`.
        """
        answers = self._ask(images, top(top_k), Wanted(EMBEDDING))
        return PredictionsAndEmbedding(_results.predictions(answers), _results.embedding(answers))

    def infer(self, images: ImageLike | Iterable[ImageLike]) -> Outputs:
        """The network's outputs as they are: the probability of every class, ``float32[N, K]``, and the embedding.

        Raises:
            as :meth:`classify`.
        """
        return _results.outputs(self._ask(images, Wanted(PROBABILITIES), Wanted(EMBEDDING)))

    def health(self) -> Health:
        """Whether the server is up, and which models it serves.

        Raises:
            Unavailable, DeadlineExceeded: it does not answer.
        """
        metadata = self._call(self._stub.ServerMetadata, service_pb2.ServerMetadataRequest())
        return Health(
            live=self._call(self._stub.ServerLive, service_pb2.ServerLiveRequest()).live,
            ready=self._call(self._stub.ServerReady, service_pb2.ServerReadyRequest()).ready,
            server=metadata.name,
            version=metadata.version,
            models=tuple(
                model
                for model in SERVED_MODELS
                if self._call(self._stub.ModelReady, service_pb2.ModelReadyRequest(name=model)).ready
            ),
        )

    def close(self) -> None:
        """Close the connection; again is harmless. Calls under way in other threads end with an error."""
        self._closed = True
        self._channel.close()

    def __enter__(self: _Self) -> _Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def __repr__(self) -> str:
        state = ", closed" if self._closed else ""
        return f"AlexNetClient({self.url!r}, model={self.model!r}, timeout={self.timeout:g}{state})"

    def _ask(self, images: ImageLike | Iterable[ImageLike], *outputs: Wanted) -> list[service_pb2.ModelInferResponse]:
        """Answers in order; few requests are under way, so what is held does not grow with the images' bytes."""
        under_way: deque[_Sent] = deque()
        answers = []
        try:
            requests = _request.requests(self._options, as_list(images), outputs)
            while True:
                try:
                    part, message = next(requests)
                except StopIteration:
                    break
                except InvalidImage:
                    # The error of an earlier request comes first, however late.
                    answers += [self._answer(sent) for sent in under_way]
                    raise
                under_way.append(self._send(part, message, time.monotonic() + self.timeout))
                if len(under_way) == IN_FLIGHT:
                    answers.append(self._answer(under_way.popleft()))
            while under_way:
                answers.append(self._answer(under_way.popleft()))
        finally:
            for sent in under_way:
                sent.future.cancel()
        return answers

    def _send(self, part: Part, message: service_pb2.ModelInferRequest, deadline: float, attempts: int = 1) -> _Sent:
        future = self._guarded(self._stub.ModelInfer.future, message, timeout=deadline - time.monotonic())
        return _Sent(part, message, deadline, future, attempts)

    def _answer(self, sent: _Sent) -> service_pb2.ModelInferResponse:
        while True:
            try:
                return _results.checked(sent.future.result(), len(sent.part.images))
            except grpc.RpcError as error:
                if not _retry.again(error.details() or "", sent.attempts):
                    raise self._meaning(error, sent.part) from error
                sent = self._send(sent.part, sent.message, sent.deadline, sent.attempts + 1)
            except grpc.FutureCancelledError as error:
                raise self._was_closed() from error

    def _call(self, method: Callable[..., Any], message: Any) -> Any:
        try:
            return self._guarded(method, message, timeout=self.timeout)
        except grpc.RpcError as error:
            raise self._meaning(error) from error

    def _guarded(self, method: Callable[..., Any], message: Any, timeout: float) -> Any:
        try:
            return method(message, timeout=timeout)
        except ValueError as error:
            if self._closed:
                raise self._was_closed() from error
            raise

    def _meaning(self, error: grpc.RpcError, part: Part | None = None) -> AlexNetError:
        if self._closed:
            return self._was_closed()
        return translate(error.code().name, error.details() or "no details", self._options, part or Part(0, ()))

    def _was_closed(self) -> InvalidRequest:
        return InvalidRequest(f"{self!r} was closed: make a new client")
