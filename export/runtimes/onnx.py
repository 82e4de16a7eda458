"""ONNX Runtime: one class for proof and for serving, so that a verdict is about what serves."""

from __future__ import annotations

import os
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import onnxruntime
from numpy.typing import NDArray

from alexnet_client.contract import IMAGE
from alexnet_client.files import sha256
from alexnet_client.outputs import Identity, Outputs
from export.runtimes.runtime import OUTPUTS, RuntimeFailure

#: Where ONNX Runtime has one, a graph runs on a GPU.
PROVIDERS = ("CUDAExecutionProvider", "CPUExecutionProvider")


def identity_of(model: str, *, literal: bool = False) -> Identity:
    """The identity of an :class:`OnnxRuntime` of this installation.

    Args:
        model: the graph's SHA-256.
        literal: as of :class:`OnnxRuntime`.
    """
    return Identity(
        name="onnxruntime",
        version=str(onnxruntime.__version__),
        model=model,
        device=_providers()[0].removesuffix("ExecutionProvider").lower(),
        options={"graph optimisation": "none" if literal else "all", "spinning": "off"},
    )


class OnnxRuntime:
    """An ONNX graph in one session, on all cores that this process may use. Safe for any number of threads."""

    def __init__(self, path: Path, *, literal: bool = False) -> None:
        """Load ``path``.

        Args:
            literal: run every node as it is written, Q/DQ as float arithmetic, instead of fusing them into 8-bit
                kernels. So a graph made for other hardware is judged by its numbers and not by this CPU's kernels.

        Raises:
            RuntimeFailure: there is no such file, or it is no ONNX graph.
        """
        if not path.is_file():
            raise RuntimeFailure(f"there is no ONNX graph at {path}: export it first")
        self._path = path
        self._literal = literal
        options = onnxruntime.SessionOptions()
        options.intra_op_num_threads = len(os.sched_getaffinity(0))
        # Between batches the threads sleep: spinning would take the cores from whoever fills the next batch.
        options.add_session_config_entry("session.intra_op.allow_spinning", "0")
        if literal:
            options.graph_optimization_level = onnxruntime.GraphOptimizationLevel.ORT_DISABLE_ALL
        try:
            self._session = onnxruntime.InferenceSession(path, options, providers=_providers())
        except Exception as error:  # its exceptions have no common base
            raise RuntimeFailure(f"{path} cannot be loaded ({_first_line(error)}): export it again") from error

    @property
    def identity(self) -> Identity:
        """Which runtime this is, and which graph it has loaded."""
        return identity_of(sha256(self._path), literal=self._literal)

    def run(self, pixels: NDArray[np.uint8], outputs: Sequence[str] = OUTPUTS) -> dict[str, NDArray[Any]]:
        """``uint8[N, 224, 224, 3]`` -> the outputs that are wanted, by name."""
        return dict(zip(outputs, self._session.run(list(outputs), {IMAGE.name: pixels}), strict=True))

    def __call__(self, pixels: NDArray[np.uint8]) -> Outputs:
        """``uint8[N, 224, 224, 3]`` -> :class:`Outputs`."""
        return Outputs(**self.run(pixels, Outputs._fields))

    def close(self) -> None:
        """Nothing to free: the session goes with the object."""


def _providers() -> list[str]:
    available = onnxruntime.get_available_providers()
    return [provider for provider in PROVIDERS if provider in available]


def _first_line(error: Exception) -> str:
    return (str(error).strip().splitlines() or [type(error).__name__])[0]
