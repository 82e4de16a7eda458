"""Predictors over the exported artefacts and over a running server; PyTorch's own is in ``training``."""

from __future__ import annotations

import os
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from types import TracebackType
from typing import Self

import numpy as np
import onnxruntime
from numpy.typing import NDArray
from tritonclient.grpc import InferenceServerClient, InferInput, InferRequestedOutput

from alexnet_client.contract import EMBEDDING, IMAGE, MAX_BATCH, PROBABILITIES
from training.predictor import Outputs


class OnnxPredictor:
    """An ONNX graph under ONNX Runtime, on the CPU."""

    def __init__(self, path: Path, threads: int | None = None, *, literal: bool = False) -> None:
        """Load ``path``, with ``threads`` intra-operator threads (all cores by default).

        Args:
            literal: run every node as it is written, Q/DQ as float arithmetic, instead of fusing them into 8-bit
                kernels. So a graph made for other hardware is judged by its numbers and not by this CPU's kernels.

        Raises:
            FileNotFoundError: there is no such file.
            onnxruntime.capi.onnxruntime_pybind11_state.InvalidProtobuf: it is no ONNX graph.
        """
        if not path.is_file():
            raise FileNotFoundError(f"there is no ONNX graph at {path}: export it first")
        options = onnxruntime.SessionOptions()
        options.intra_op_num_threads = threads or os.cpu_count() or 1
        if literal:
            options.graph_optimization_level = onnxruntime.GraphOptimizationLevel.ORT_DISABLE_ALL
        self._session = onnxruntime.InferenceSession(path, options, providers=["CPUExecutionProvider"])

    def __call__(self, images: NDArray[np.uint8]) -> Outputs:
        """``uint8[N, 224, 224, 3]`` -> :class:`Outputs`."""
        return Outputs(*self._session.run([PROBABILITIES.name, EMBEDDING.name], {IMAGE.name: images}))


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
