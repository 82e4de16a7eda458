"""The synchronous client."""

from __future__ import annotations

import math
from collections import deque
from collections.abc import Iterable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from types import TracebackType
from typing import Any, TypeVar

import numpy as np
from numpy.typing import NDArray
from tritonclient.grpc import InferenceServerClient, InferInput, InferRequestedOutput, InferResult
from tritonclient.utils import InferenceServerException

from alexnet_client._errors import InvalidRequest, Unavailable, translate
from alexnet_client._images import ImageLike, as_file, as_list, as_pixels
from alexnet_client.contract import EMBEDDING, ENCODED, ENSEMBLE, IMAGE, PROBABILITIES, SERVED_MODELS

DEFAULT_URL = "127.0.0.1:8001"
DEFAULT_TIMEOUT = 5.0
#: Requests of one call under way at once: the server works on one while the next is prepared and sent.
IN_FLIGHT = 4
#: Images a request, however many more the server would take: enough to fill its batches, little enough to be quick.
IMAGES_A_REQUEST = 32
MICROSECONDS = 1_000_000

_Self = TypeVar("_Self", bound="AlexNetClient")


@dataclass(frozen=True)
class Prediction:
    """A class and its probability."""

    label: str
    index: int
    probability: float


@dataclass(frozen=True)
class Health:
    """What a server says of itself, and which of AlexNet's models it serves."""

    live: bool
    ready: bool
    server: str
    version: str
    models: tuple[str, ...]


class AlexNetClient:
    """Classify and embed images with an AlexNet that Triton serves. Use it in a ``with`` statement, from any thread.

    ``model`` decides where images are decoded: ``alexnet`` takes files and decodes on the server, ``alexnet_int8``,
    ``alexnet_fp16`` and ``alexnet_fp32`` take pixels, which this client makes of what you hand over, by the same code.
    """

    def __init__(self, url: str = DEFAULT_URL, model: str = "alexnet_int8", timeout: float = DEFAULT_TIMEOUT) -> None:
        """Name the server; nothing is sent yet.

        Args:
            url: ``host:port`` of Triton's gRPC endpoint.
            timeout: seconds until a request of up to 32 images must be answered. The server stops waiting then, too.

        Raises:
            InvalidRequest: ``timeout`` is not a positive, finite number, or ``url`` has a scheme.
        """
        if not (isinstance(timeout, (int, float)) and math.isfinite(timeout) and timeout > 0):
            raise InvalidRequest(f"timeout is {timeout!r}: want seconds, more than 0 and finite")
        if "://" in url:
            raise InvalidRequest(f"url is {url!r}: want host:port of the gRPC endpoint, without a scheme")
        self.url = url
        self.model = model
        self.timeout = timeout
        self._client = InferenceServerClient(url)
        self._pool = ThreadPoolExecutor(IN_FLIGHT, thread_name_prefix="alexnet-client")
        self._closed = False
        self._largest: int | None = None

    def classify(self, images: ImageLike | Iterable[ImageLike], top_k: int = 5) -> list[list[Prediction]]:
        """The ``top_k`` most probable classes of each image, the most probable first.

        Args:
            images: one image or many: paths, bytes of image files, Pillow images, or ``uint8[H, W, 3]`` arrays.

        Raises:
            InvalidImage: an image cannot be used; says which and why.
            InvalidRequest: ``top_k`` is less than 1.
            UnknownModel, DeadlineExceeded, Unavailable, Overloaded, ServerError: see the error tree.
        """
        if top_k < 1:
            raise InvalidRequest(f"top_k is {top_k}: want at least 1")
        wanted = [InferRequestedOutput(PROBABILITIES.name, class_count=top_k)]
        return [
            [_prediction(text) for text in row]
            for answer in self._infer(images, wanted)
            for row in answer.as_numpy(PROBABILITIES.name)
        ]

    def embed(self, images: ImageLike | Iterable[ImageLike]) -> NDArray[np.float32]:
        """The 4096-long penultimate layer for each image, ``float32[N, 4096]``; similar images are neighbours in it.

        Raises:
            as :meth:`classify`.
        """
        parts = [
            answer.as_numpy(EMBEDDING.name) for answer in self._infer(images, [InferRequestedOutput(EMBEDDING.name)])
        ]
        return np.concatenate(parts) if parts else np.empty((0, *EMBEDDING.shape), np.float32)

    def health(self) -> Health:
        """Whether the server is up, and which models it serves.

        Raises:
            Unavailable, DeadlineExceeded: it does not answer.
        """
        try:
            metadata = self._client.get_server_metadata(client_timeout=self.timeout)
            return Health(
                live=self._client.is_server_live(client_timeout=self.timeout),
                ready=self._client.is_server_ready(client_timeout=self.timeout),
                server=metadata.name,
                version=metadata.version,
                models=tuple(
                    model for model in SERVED_MODELS if self._client.is_model_ready(model, client_timeout=self.timeout)
                ),
            )
        except InferenceServerException as error:
            raise translate(error, self.model, self.url, self.timeout) from error

    def close(self) -> None:
        """Close the connection; again is harmless."""
        if not self._closed:
            self._closed = True
            self._pool.shutdown(cancel_futures=True)
            self._client.close()

    def __enter__(self: _Self) -> _Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def __repr__(self) -> str:
        state = ", closed" if self._closed else ""
        return f"AlexNetClient({self.url!r}, model={self.model!r}, timeout={self.timeout:g}{state})"

    def _infer(
        self, images: ImageLike | Iterable[ImageLike], wanted: list[InferRequestedOutput]
    ) -> Iterator[InferResult]:
        """Answers in order; few requests are under way, so the memory needed does not grow with the images."""
        if self._closed:
            raise Unavailable(f"{self!r} was closed: make a new client")
        every = as_list(images)
        if not every:
            return
        step = min(IMAGES_A_REQUEST, self._maximum())
        pending: deque[Future[InferResult]] = deque()
        try:
            for start in range(0, len(every), step):
                pending.append(self._pool.submit(self._request, every[start : start + step], start, wanted))
                if len(pending) == IN_FLIGHT:
                    yield pending.popleft().result()
            while pending:
                yield pending.popleft().result()
        finally:
            for future in pending:
                future.cancel()

    def _request(self, images: list[ImageLike], first: int, wanted: list[InferRequestedOutput]) -> InferResult:
        if self.model == ENSEMBLE:
            files = [as_file(image, first + place) for place, image in enumerate(images)]
            tensor = InferInput(ENCODED.name, [len(files), *ENCODED.shape], ENCODED.dtype)
            tensor.set_data_from_numpy(np.array(files, dtype=object).reshape(-1, *ENCODED.shape))
        else:
            pixels = np.stack([as_pixels(image, first + place) for place, image in enumerate(images)])
            tensor = InferInput(IMAGE.name, list(pixels.shape), IMAGE.dtype)
            tensor.set_data_from_numpy(pixels)
        # An ensemble has no queue of its own to wait in.
        patience: dict[str, Any] = {} if self.model == ENSEMBLE else {"timeout": int(self.timeout * MICROSECONDS)}
        for last in (False, True):
            try:
                return self._client.infer(self.model, [tensor], outputs=wanted, client_timeout=self.timeout, **patience)
            except InferenceServerException as error:
                # A new version may take the place of the one that was just chosen; nothing has run then.
                if last or "is not at ready state" not in str(error.message()):
                    raise translate(error, self.model, self.url, self.timeout, first, len(images)) from error
        raise AssertionError("not reached")

    def _maximum(self) -> int:
        """The most images that the server takes in one request."""
        if self._largest is None:
            try:
                config = self._client.get_model_config(self.model, client_timeout=self.timeout).config
            except InferenceServerException as error:
                raise translate(error, self.model, self.url, self.timeout) from error
            self._largest = max(1, config.max_batch_size)
        return self._largest


def _prediction(text: bytes) -> Prediction:
    """Triton's classification extension answers ``probability:index:label``."""
    probability, index, label = text.decode().split(":", 2)
    return Prediction(label, int(index), float(probability))
