"""A TensorRT engine at work: deserialised once, one execution context a profile, one CUDA stream, pinned host memory.

The same class proves an engine and serves it. Copies to and from the device are the
only ones: a batch is written once into pinned memory, and answers are read from it.
"""

from __future__ import annotations

import importlib
import math
from collections.abc import Sequence
from pathlib import Path
from types import TracebackType
from typing import Any, Self

import numpy as np
from numpy.typing import NDArray

from alexnet_client.contract import IMAGE
from alexnet_client.files import sha256, sha256_of
from alexnet_client.outputs import Identity, Outputs
from export.engines.gpu import installed
from export.engines.provider import Provider
from export.runtimes.runtime import OUTPUTS, RuntimeFailure


class EngineRuntime:
    """One engine on one GPU; use it in a ``with`` statement. Not for two threads at once."""

    def __init__(
        self, provider: Provider, plan: Path, weights: Path | None = None, hot: Sequence[int] = (), cuda: Any = None
    ) -> None:
        """Load ``plan``.

        Args:
            weights: the ONNX graph whose weights a stripped plan is given; a whole plan does without.
            hot: batch sizes that are recorded as CUDA graphs, so that each is one launch.
            cuda: ``cuda.bindings.runtime``, which is imported when it is not given.

        Raises:
            RuntimeFailure: there is no plan, or no graph of weights, or it cannot run here; says why and what to do.
        """
        for path in (plan, weights):
            if path is not None and not path.is_file():
                raise RuntimeFailure(f"there is no file {path}: build it with `python -m export engine`")
        self._provider = provider
        self._files = [path for path in (plan, weights) if path is not None]
        self._cuda = cuda or _cuda_runtime()
        self._check_device()
        trt = provider.trt
        log = trt.Logger(trt.Logger.WARNING)
        self._runtime = trt.Runtime(log)
        self._engine = self._runtime.deserialize_cuda_engine(plan.read_bytes())
        if self._engine is None:
            raise RuntimeFailure(
                f"{plan} is not a plan for this GPU and {provider}: build it here with `python -m export engine`"
            )
        if weights is not None and self._engine.refittable:
            refitter = trt.Refitter(self._engine, log)
            if not (
                trt.OnnxParserRefitter(refitter, log).refit_from_file(str(weights)) and refitter.refit_cuda_engine()
            ):
                raise RuntimeFailure(f"{plan} does not take the weights of {weights}: build it again from that graph")
        self._memory: list[tuple[str, Any]] = []
        self._graphs: dict[int, Any] = {}
        self._stream = self._call("cudaStreamCreate")
        try:
            self._allocate(trt)
            for size in hot:
                self._record(size)
        except BaseException:
            self.close()
            raise

    @property
    def identity(self) -> Identity:
        """Which library this is, on which GPU, and which plan it has loaded, with which weights."""
        loaded = [sha256(path) for path in self._files]
        gpu = installed()
        return Identity(
            name=self._provider.name,
            version=self._provider.version,
            model=loaded[0] if len(loaded) == 1 else sha256_of(" ".join(loaded)),
            device=f"{gpu}, driver {gpu.driver}" if gpu else "cuda",
            options={"cuda graphs": " ".join(map(str, self.recorded)) or "none"},
        )

    @property
    def largest(self) -> int:
        """The largest batch of any profile."""
        return max(most for _, most in self._profiles)

    @property
    def device_memory(self) -> int:
        """Bytes on the device for activations and scratch, without the weights."""
        return int(self._engine.device_memory_size_v2)

    @property
    def recorded(self) -> tuple[int, ...]:
        """Batch sizes that run as one CUDA graph."""
        return tuple(self._graphs)

    def run(self, pixels: NDArray[np.uint8], outputs: Sequence[str] = OUTPUTS) -> dict[str, NDArray[Any]]:
        """``uint8[N, 224, 224, 3]`` -> the wanted outputs by name, valid until the next call.

        Raises:
            RuntimeFailure: no profile takes N images, or the device refused.
        """
        size = len(pixels)
        index = self._profile(size)
        np.copyto(self._host[IMAGE.name][:size], pixels)
        graph = self._graphs.get(size)
        if graph is not None:
            self._call("cudaGraphLaunch", graph, self._stream)
        else:
            self._enqueue(index, size, outputs)
        self._call("cudaStreamSynchronize", self._stream)
        return {name: self._host[name][:size] for name in outputs}

    def __call__(self, pixels: NDArray[np.uint8]) -> Outputs:
        """As a Predictor: any number of images, in batches of the largest profile."""
        parts = []
        for start in range(0, len(pixels), self.largest):
            answer = self.run(pixels[start : start + self.largest], Outputs._fields)
            parts.append([answer[name].copy() for name in Outputs._fields])
        return Outputs(*(np.concatenate(column) for column in zip(*parts, strict=True)))

    def close(self) -> None:
        """Free graphs, memory and the stream. Again is harmless."""
        for graph in self._graphs.values():
            self._call("cudaGraphExecDestroy", graph)
        self._graphs = {}
        for free, address in self._memory:
            self._call(free, address)
        self._memory = []
        if self._stream is not None:
            self._call("cudaStreamDestroy", self._stream)
            self._stream = None

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def _allocate(self, trt: Any) -> None:
        engine = self._engine
        shapes = [engine.get_tensor_profile_shape(IMAGE.name, i) for i in range(engine.num_optimization_profiles)]
        self._profiles = [(int(least[0]), int(most[0])) for least, _, most in shapes]
        self._contexts = [engine.create_execution_context() for _ in shapes]
        if not all(self._contexts):
            raise RuntimeFailure("no execution context fits the device's memory: lower the profile's largest batch")
        self._host: dict[str, NDArray[Any]] = {}
        self._device: dict[str, Any] = {}
        for name in (IMAGE.name, *OUTPUTS):
            shape = (self.largest, *(int(side) for side in tuple(engine.get_tensor_shape(name))[1:]))
            dtype = np.dtype(trt.nptype(engine.get_tensor_dtype(name)))
            size = math.prod(shape) * dtype.itemsize
            device = self._call("cudaMalloc", size)
            self._memory.append(("cudaFree", device))
            host = self._call("cudaMallocHost", size)
            self._memory.append(("cudaFreeHost", host))
            self._device[name], self._host[name] = device, _view(host, shape, dtype)
        for index, context in enumerate(self._contexts):
            if index:
                context.set_optimization_profile_async(index, int(self._stream))
            for name, device in self._device.items():
                context.set_tensor_address(name, int(device))
        self._call("cudaStreamSynchronize", self._stream)

    def _profile(self, size: int) -> int:
        for index, (least, most) in enumerate(self._profiles):
            if least <= size <= most:
                return index
        ranges = ", ".join(f"{least} to {most}" for least, most in self._profiles)
        raise RuntimeFailure(f"got {size} images: this engine takes {ranges} at once")

    def _enqueue(self, index: int, size: int, wanted: Sequence[str]) -> None:
        kinds, context = self._cuda.cudaMemcpyKind, self._contexts[index]
        pixels = self._host[IMAGE.name][:size]
        context.set_input_shape(IMAGE.name, pixels.shape)
        self._copy(self._device[IMAGE.name], pixels.ctypes.data, pixels.nbytes, kinds.cudaMemcpyHostToDevice)
        if not context.execute_async_v3(int(self._stream)):
            raise RuntimeFailure("the engine could not be run: its message is in the log")
        for name in wanted:
            rows = self._host[name][:size]
            self._copy(rows.ctypes.data, self._device[name], rows.nbytes, kinds.cudaMemcpyDeviceToHost)

    def _record(self, size: int) -> None:
        """Record copies and kernels for one batch size, after one run of them: nothing is set up while recording."""
        index = self._profile(size)
        self._enqueue(index, size, OUTPUTS)
        self._call("cudaStreamSynchronize", self._stream)
        self._call(
            "cudaStreamBeginCapture", self._stream, self._cuda.cudaStreamCaptureMode.cudaStreamCaptureModeThreadLocal
        )
        try:
            self._enqueue(index, size, OUTPUTS)
        finally:
            graph = self._call("cudaStreamEndCapture", self._stream)
        self._graphs[size] = self._call("cudaGraphInstantiate", graph, 0)
        self._call("cudaGraphDestroy", graph)

    def _copy(self, target: Any, source: Any, size: int, kind: Any) -> None:
        self._call("cudaMemcpyAsync", target, source, size, kind, self._stream)

    def _check_device(self) -> None:
        error, count = self._cuda.cudaGetDeviceCount()
        if int(error) or not count:
            raise RuntimeFailure(
                f"an engine needs a CUDA device and there is none ({_words(self._cuda, error)}): "
                "serve the ONNX artefact, as publishing with --fallback does"
            )

    def _call(self, name: str, *arguments: Any) -> Any:
        error, *values = getattr(self._cuda, name)(*arguments)
        if int(error):
            raise RuntimeFailure(f"{name} failed: {_words(self._cuda, error)}")
        return values[0] if values else None


def _cuda_runtime() -> Any:
    try:
        return importlib.import_module("cuda.bindings.runtime")
    except ImportError as error:
        raise RuntimeFailure(
            "an engine needs cuda-bindings: pip install -c constraints.txt '.[tensorrt-rtx]'"
        ) from error


def _words(cuda: Any, error: Any) -> str:
    """What the runtime calls an error: ``no CUDA-capable device is detected``."""
    _, text = cuda.cudaGetErrorString(error)
    return text.decode() if isinstance(text, bytes) else str(text or error)


def _view(address: Any, shape: tuple[int, ...], dtype: np.dtype[Any]) -> NDArray[Any]:
    """Pinned memory as an array, without a copy."""
    interface = {"data": (int(address), False), "shape": shape, "typestr": dtype.str, "version": 3}
    return np.asarray(type("Pinned", (), {"__array_interface__": interface})())
