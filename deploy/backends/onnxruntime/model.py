"""Python-based backend ``onnxruntime``: what serves ``model.onnx`` where NVIDIA's C++ backend of that name is absent.

Triton finds it by the model's file, as it finds the C++ one, so the model repository is the same for both.
"""

import os
import time
from pathlib import Path

import onnxruntime
import triton_python_backend_utils as pb_utils

from deploy.backends.batching import answer, collect
from deploy.backends.metrics import Metrics

MODEL_FILE = "model.onnx"


class TritonPythonModel:
    """One instance of one model: one session that uses all cores, or a GPU where ONNX Runtime has one."""

    @staticmethod
    def auto_complete_config(auto_complete_model_config):
        """One instance, unless the configuration says otherwise: Triton's default of two on a CPU only contends."""
        if not auto_complete_model_config.as_dict().get("instance_group"):
            auto_complete_model_config.add_instance_group({"count": 1})  # pragma: no cover  our own configs name it
        return auto_complete_model_config

    def initialize(self, args):
        """Load the graph.

        Raises:
            TritonModelException: the file is missing or no ONNX graph.
        """
        path = Path(args["model_repository"]) / args["model_version"] / MODEL_FILE
        options = onnxruntime.SessionOptions()
        options.intra_op_num_threads = len(os.sched_getaffinity(0))
        # Between batches the threads sleep: spinning would take the cores from whoever fills the next batch.
        options.add_session_config_entry("session.intra_op.allow_spinning", "0")
        providers = [p for p in ("CUDAExecutionProvider",) if p in onnxruntime.get_available_providers()]
        try:
            self._session = onnxruntime.InferenceSession(path, options, [*providers, "CPUExecutionProvider"])
        except Exception as error:
            raise pb_utils.TritonModelException(f"{path} cannot be loaded: {error}") from error
        self._input = self._session.get_inputs()[0].name
        self._metrics = Metrics(args["model_name"], args["model_version"])

    def execute(self, requests):
        """One run for all the requests of a dynamic batch, of the outputs that any of them asked for."""
        batch, sizes, wanted = collect(requests, self._input)
        started = time.perf_counter()
        outputs = dict(zip(wanted, self._session.run(wanted, {self._input: batch}), strict=True))
        self._metrics.observe(len(batch), time.perf_counter() - started)
        return answer(requests, sizes, outputs)
