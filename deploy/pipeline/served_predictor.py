"""A served model as a Predictor."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from types import TracebackType
from typing import Self

import numpy as np
from numpy.typing import NDArray
from tritonclient.grpc import InferenceServerClient, InferInput, InferRequestedOutput

from alexnet_client.contract import EMBEDDING, IMAGE, MAX_BATCH, PROBABILITIES
from alexnet_client.outputs import Outputs


class ServedPredictor:
    """A precision model of a running Triton, over gRPC; several requests are in flight so that the batcher has work."""

    def __init__(self, url: str, model: str, timeout: float = 60.0, in_flight: int = 4) -> None:
        self._client = InferenceServerClient(url)
        self._model = model
        self._timeout = timeout
        self._pool = ThreadPoolExecutor(in_flight)
        self._in_flight = in_flight

    def __call__(self, images: NDArray[np.uint8]) -> Outputs:
        """``uint8[N, 224, 224, 3]`` -> :class:`Outputs`.

        Raises:
            tritonclient.utils.InferenceServerException: the server refused or did not answer in time.
        """
        step = max(1, min(MAX_BATCH, -(-len(images) // self._in_flight)))
        parts = [images[start : start + step] for start in range(0, len(images), step)]
        answers = list(self._pool.map(self._infer, parts))
        return Outputs(*(np.concatenate(column) for column in zip(*answers, strict=True)))

    def _infer(self, images: NDArray[np.uint8]) -> Outputs:
        tensor = InferInput(IMAGE.name, list(images.shape), IMAGE.dtype)
        tensor.set_data_from_numpy(images)
        wanted = [InferRequestedOutput(PROBABILITIES.name), InferRequestedOutput(EMBEDDING.name)]
        answer = self._client.infer(self._model, [tensor], outputs=wanted, client_timeout=self._timeout)
        return Outputs(answer.as_numpy(PROBABILITIES.name), answer.as_numpy(EMBEDDING.name))

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._pool.shutdown()
        self._client.close()
