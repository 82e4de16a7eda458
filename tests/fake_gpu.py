"""A GPU that is not there: the part of CUDA's runtime and of TensorRT's that an engine at work uses.

"Device" memory is host memory, a "kernel" is the ONNX graph under ONNX Runtime, and a stream works at once, except
while it is captured: then it only keeps what it was asked, for the graph to do. It shows that the runner asks for the
right things in the right order; that a GPU does them right is shown on a GPU.
"""

from __future__ import annotations

import ctypes
from collections.abc import Callable
from enum import IntEnum
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np

from export.engines.provider import Provider
from export.runtimes.onnx import OnnxRuntime

DTYPES = {"image": np.uint8, "probabilities": np.float32, "embedding": np.float32, "checksum": np.float32}


class Cuda:
    """``cuda.bindings.runtime``: every call answers a tuple whose first is the error."""

    class cudaMemcpyKind(IntEnum):  # noqa: N801
        cudaMemcpyHostToDevice = 1  # noqa: N815
        cudaMemcpyDeviceToHost = 2  # noqa: N815

    class cudaStreamCaptureMode(IntEnum):  # noqa: N801
        cudaStreamCaptureModeThreadLocal = 1  # noqa: N815

    def __init__(self, devices: int = 1, error: int = 0, out_of: str = "") -> None:
        self.devices, self.error, self.out_of = devices, error, out_of
        self.memory: dict[int, Any] = {}
        self.streams = 0
        self.captured: list[Callable[[], None]] | None = None
        self.launches = 0
        self.executables = 0

    def do(self, work: Callable[[], None]) -> None:
        if self.captured is None:
            work()
        else:
            self.captured.append(work)

    def cudaGetDeviceCount(self) -> tuple[int, int]:  # noqa: N802
        return self.error, self.devices

    def cudaGetErrorString(self, error: int) -> tuple[int, bytes]:  # noqa: N802
        words = {0: b"no error", 2: b"out of memory", 35: b"CUDA driver version is insufficient", 100: b"no device"}
        return 0, words[error]

    def _allocate(self, size: int) -> tuple[int, int]:
        buffer = ctypes.create_string_buffer(size)
        address = ctypes.addressof(buffer)
        self.memory[address] = buffer
        return 0, address

    def cudaMalloc(self, size: int) -> tuple[int, ...]:  # noqa: N802
        return (2, 0) if self.out_of == "device memory" else self._allocate(size)

    def cudaMallocHost(self, size: int) -> tuple[int, ...]:  # noqa: N802
        return (2, 0) if self.out_of == "host memory" else self._allocate(size)

    def cudaFree(self, address: int) -> tuple[int]:  # noqa: N802
        del self.memory[address]
        return (0,)

    cudaFreeHost = cudaFree  # noqa: N815

    def cudaStreamCreate(self) -> tuple[int, int]:  # noqa: N802
        self.streams += 1
        return 0, 7

    def cudaStreamDestroy(self, _stream: int) -> tuple[int]:  # noqa: N802
        self.streams -= 1
        return (0,)

    def cudaStreamSynchronize(self, _stream: int) -> tuple[int]:  # noqa: N802
        assert self.captured is None, "a stream that is captured cannot be waited for"
        return (0,)

    def cudaMemcpyAsync(self, target: int, source: int, size: int, _kind: int, _stream: int) -> tuple[int]:  # noqa: N802
        self.do(lambda: ctypes.memmove(target, source, size))
        return (0,)

    def cudaStreamBeginCapture(self, _stream: int, _mode: int) -> tuple[int]:  # noqa: N802
        self.captured = []
        return (0,)

    def cudaStreamEndCapture(self, _stream: int) -> tuple[int, Any]:  # noqa: N802
        graph, self.captured = self.captured, None
        return 0, graph

    def cudaGraphInstantiate(self, graph: Any, _flags: int) -> tuple[int, Any]:  # noqa: N802
        self.executables += 1
        return 0, list(graph)

    def cudaGraphDestroy(self, _graph: Any) -> tuple[int]:  # noqa: N802
        return (0,)

    def cudaGraphExecDestroy(self, _graph: Any) -> tuple[int]:  # noqa: N802
        self.executables -= 1
        return (0,)

    def cudaGraphLaunch(self, graph: Any, _stream: int) -> tuple[int]:  # noqa: N802
        self.launches += 1
        for work in graph:
            work()
        return (0,)


class Context:
    """``IExecutionContext``."""

    def __init__(self, cuda: Cuda, predictor: OnnxRuntime, shapes: dict[str, tuple[int, ...]]) -> None:
        self.cuda, self.predictor, self.shapes = cuda, predictor, shapes
        self.addresses: dict[str, int] = {}

    def set_optimization_profile_async(self, index: int, _stream: int) -> bool:
        self.profile = index
        return True

    def set_tensor_address(self, name: str, address: int) -> bool:
        self.addresses[name] = address
        return True

    def set_input_shape(self, _name: str, shape: tuple[int, ...]) -> bool:
        self.size = shape[0]
        return True

    def execute_async_v3(self, _stream: int) -> bool:
        size = self.size
        self.cuda.do(lambda: self._compute(size))
        return True

    def _compute(self, size: int) -> None:
        def rows(name: str) -> np.ndarray:
            shape = (size, *self.shapes[name][1:])
            kind = ctypes.c_char * (int(np.prod(shape)) * np.dtype(DTYPES[name]).itemsize)
            return np.frombuffer(kind.from_address(self.addresses[name]), DTYPES[name]).reshape(shape)

        for name, values in self.predictor.run(rows("image").copy()).items():
            rows(name)[:] = values


def library(cuda: Cuda, graph: Path, profiles: list[tuple[int, int, int]], *, loads: bool = True) -> Provider:
    """A provider whose engines answer as ``graph`` does."""
    predictor = OnnxRuntime(graph)
    shapes: dict[str, tuple[int, ...]] = {
        "image": (-1, 224, 224, 3),
        "probabilities": (-1, 3),
        "embedding": (-1, 4096),
        "checksum": (-1, 4, 4, 3),
    }
    engine = SimpleNamespace(
        refittable=False,
        num_optimization_profiles=len(profiles),
        device_memory_size_v2=12345,
        get_tensor_profile_shape=lambda _, index: [(size, 224, 224, 3) for size in profiles[index]],
        get_tensor_shape=shapes.__getitem__,
        get_tensor_dtype=lambda name: name,
        create_execution_context=lambda: Context(cuda, predictor, shapes),
    )

    class Logger:
        WARNING = 2

        def __init__(self, _severity: int) -> None:
            pass

    module = SimpleNamespace(
        __version__="10.13.3.9",
        Logger=Logger,
        Runtime=lambda _log: SimpleNamespace(deserialize_cuda_engine=lambda _plan: engine if loads else None),
        nptype=DTYPES.__getitem__,
    )
    return Provider("tensorrt", module)
