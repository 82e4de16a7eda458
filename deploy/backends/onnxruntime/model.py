"""Python-based backend ``onnxruntime``: what serves ``model.onnx`` where NVIDIA's C++ backend of that name is absent.

Triton finds it by the model's file, as it finds the C++ one, so the model repository is the same for both.
"""

import json
import time
from pathlib import Path

import triton_python_backend_utils as pb_utils

from alexnet_client.contract import IMAGE
from deploy.backends.batching import answer, collect
from deploy.backends.metrics import Metrics, Traffic
from deploy.backends.questions import Questions
from deploy.backends.silence import Silence
from deploy.backends.turns import Turns
from export.runtimes.onnx import OnnxRuntime
from export.runtimes.runtime import RuntimeFailure

MODEL_FILE = "model.onnx"


class TritonPythonModel:
    """One instance of one model: the runtime that proved it. It takes turns with the others of the model."""

    def initialize(self, args):
        """Load the graph.

        Raises:
            TritonModelException: the file is missing or no ONNX graph.
        """
        config = json.loads(args["model_config"])
        self._silence = Silence(config)
        path = Path(args["model_repository"]) / args["model_version"] / MODEL_FILE
        try:
            self._network = self.load(path)
        except RuntimeFailure as error:
            raise pb_utils.TritonModelException(str(error)) from error
        self._turns = Turns(args["model_name"])
        self._metrics = Metrics(args["model_name"], args["model_version"])
        self._traffic = Traffic(args["model_name"], args["model_version"], config, Questions(path.parent))

    def load(self, path):
        """The network that is run, of the model's file."""
        return OnnxRuntime(path)

    def execute(self, requests):
        """One run for all the requests of a dynamic batch, of the outputs that any of them asked for."""
        with self._silence.unless_in_time():
            batch, sizes, wanted = collect(requests, IMAGE.name)
            gathered = time.perf_counter()
            with self._turns.mine():
                started = time.perf_counter()
                outputs = self._network.run(batch, wanted)
                seconds = time.perf_counter() - started
            self._metrics.observe(len(batch), seconds, (started - gathered) * len(requests))
            self._traffic.count(batch, outputs)
            return answer(requests, sizes, outputs)
