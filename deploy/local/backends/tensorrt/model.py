"""Python-based backend ``tensorrt``: what serves ``model.plan`` where NVIDIA's C++ backend of that name is absent.

Not verified on a GPU yet; what happens without one is.
"""

import importlib
import math
import time
from pathlib import Path

import numpy as np
import triton_python_backend_utils as pb_utils

from deploy.local.backends.batching import answer, collect
from deploy.local.backends.metrics import Metrics

MODEL_FILE = "model.plan"
#: The first that is installed. TensorRT-RTX has the same interface.
LIBRARIES = ("tensorrt", "tensorrt_rtx")


class TritonPythonModel:
    """One instance of one model: one engine, one execution context, one CUDA stream, pinned host memory."""

    @staticmethod
    def auto_complete_config(auto_complete_model_config):
        """Nothing is missing that the engine could tell: names, types and shapes are the contract's."""
        return auto_complete_model_config

    def initialize(self, args):
        """Deserialise the engine and allocate memory for its largest batch.

        Raises:
            TritonModelException: no library, no CUDA device, or an engine of another version or another GPU.
        """
        path = Path(args["model_repository"]) / args["model_version"] / MODEL_FILE
        self._trt, self._cuda = _libraries()
        self._check_device()
        logger = self._trt.Logger(self._trt.Logger.WARNING)
        self._engine = self._trt.Runtime(logger).deserialize_cuda_engine(path.read_bytes())
        if self._engine is None:
            raise pb_utils.TritonModelException(
                f"{path} was built for another GPU or another {self._trt.__name__} than {self._trt.__version__}: "
                "build it here, or publish with the ONNX artefact"
            )
        self._context = self._engine.create_execution_context()
        self._stream = self._call("cudaStreamCreate")
        names = [self._engine.get_tensor_name(i) for i in range(self._engine.num_io_tensors)]
        is_input = {name: self._engine.get_tensor_mode(name) == self._trt.TensorIOMode.INPUT for name in names}
        (self._input,) = (name for name in names if is_input[name])
        self._outputs = [name for name in names if not is_input[name]]
        largest = self._engine.get_tensor_profile_shape(self._input, 0)[2]
        self._context.set_input_shape(self._input, largest)
        self._host, self._device = {}, {}
        for name in names:
            shape = tuple(self._context.get_tensor_shape(name))
            dtype = np.dtype(self._trt.nptype(self._engine.get_tensor_dtype(name)))
            size = math.prod(shape) * dtype.itemsize
            self._device[name] = self._call("cudaMalloc", size)
            self._host[name] = _view(self._call("cudaMallocHost", size), shape, dtype)
            self._context.set_tensor_address(name, int(self._device[name]))
        self._metrics = Metrics(args["model_name"], args["model_version"])

    def execute(self, requests):
        """One run for all the requests of a dynamic batch."""
        batch, sizes, wanted = collect(requests, self._input)
        started = time.perf_counter()
        outputs = self._run(batch, wanted)
        self._metrics.observe(len(batch), time.perf_counter() - started)
        return answer(requests, sizes, outputs)

    def _run(self, batch, wanted):
        kinds = self._cuda.cudaMemcpyKind
        self._host[self._input][: len(batch)] = batch
        self._context.set_input_shape(self._input, batch.shape)
        self._copy(
            self._device[self._input], self._host[self._input].ctypes.data, batch.nbytes, kinds.cudaMemcpyHostToDevice
        )
        if not self._context.execute_async_v3(int(self._stream)):
            raise pb_utils.TritonModelException("the engine could not run: see the server's log")
        rows = {name: self._host[name][: len(batch)] for name in wanted}
        for name, target in rows.items():
            self._copy(target.ctypes.data, self._device[name], target.nbytes, kinds.cudaMemcpyDeviceToHost)
        self._call("cudaStreamSynchronize", self._stream)
        return rows

    def _copy(self, target, source, size, kind):
        self._call("cudaMemcpyAsync", target, source, size, kind, self._stream)

    def _check_device(self):
        error, count = self._cuda.cudaGetDeviceCount()
        if int(error) or not count:
            raise pb_utils.TritonModelException(
                f"an engine needs a CUDA device and there is none ({error!s}): "
                "publish with the ONNX artefact to serve on the CPU"
            )

    def _call(self, name, *arguments):
        error, *values = getattr(self._cuda, name)(*arguments)
        if int(error):
            raise pb_utils.TritonModelException(f"{name} failed: {error!s}")
        return values[0] if values else None

    def finalize(self):
        """Free device and host memory."""
        for name, memory in self._device.items():
            self._call("cudaFree", memory)
            self._call("cudaFreeHost", self._host[name].ctypes.data)
        self._call("cudaStreamDestroy", self._stream)


def _libraries():
    for name in LIBRARIES:
        try:
            return importlib.import_module(name), importlib.import_module("cuda.bindings.runtime")
        except ImportError:
            continue
    raise pb_utils.TritonModelException(
        f"an engine needs one of the packages {', '.join(LIBRARIES)}, and cuda-python: pip install '.[tensorrt]', "
        "or publish with the ONNX artefact to serve on the CPU"
    )


def _view(address, shape, dtype):
    """Pinned memory as an array, without a copy."""
    interface = {"data": (int(address), False), "shape": shape, "typestr": dtype.str, "version": 3}
    return np.asarray(type("Pinned", (), {"__array_interface__": interface})())
