"""ONNX Runtime as a Predictor."""

from __future__ import annotations

import os
from pathlib import Path

import numpy as np
import onnxruntime
from numpy.typing import NDArray

from alexnet_client.contract import EMBEDDING, IMAGE, PROBABILITIES
from alexnet_client.errors import FileError
from alexnet_client.outputs import Outputs


class OnnxPredictor:
    """An ONNX graph under ONNX Runtime, on the CPU."""

    def __init__(self, path: Path, threads: int | None = None, *, literal: bool = False) -> None:
        """Load ``path``, with ``threads`` intra-operator threads (all cores by default).

        Args:
            literal: run every node as it is written, Q/DQ as float arithmetic, instead of fusing them into 8-bit
                kernels. So a graph made for other hardware is judged by its numbers and not by this CPU's kernels.

        Raises:
            FileError: there is no such file.
            onnxruntime.capi.onnxruntime_pybind11_state.InvalidProtobuf: it is no ONNX graph.
        """
        if not path.is_file():
            raise FileError(f"there is no ONNX graph at {path}: export it first")
        options = onnxruntime.SessionOptions()
        options.intra_op_num_threads = threads or os.cpu_count() or 1
        if literal:
            options.graph_optimization_level = onnxruntime.GraphOptimizationLevel.ORT_DISABLE_ALL
        self._session = onnxruntime.InferenceSession(path, options, providers=["CPUExecutionProvider"])

    def __call__(self, images: NDArray[np.uint8]) -> Outputs:
        """``uint8[N, 224, 224, 3]`` -> :class:`Outputs`."""
        return Outputs(*self._session.run([PROBABILITIES.name, EMBEDDING.name], {IMAGE.name: images}))
