"""Python-based backend ``tensorrt``: what serves ``model.plan`` where NVIDIA's C++ backend of that name is absent.

The manifest says which plan is for this GPU, as ``cc_model_filenames`` tells the C++ backend; ``optimization.cuda``
turns CUDA graphs on for both.
"""

import json
import time
from pathlib import Path

import triton_python_backend_utils as pb_utils

from alexnet_client.errors import AlexNetError
from deploy.backends.batching import answer, collect
from deploy.backends.metrics import EngineMetrics, Metrics, Traffic
from deploy.backends.questions import Questions
from deploy.backends.silence import Silence
from deploy.backends.turns import Turns
from export.artefacts import artefact, manifest
from export.engines import gpu, plans, provider
from export.runtimes.engine import EngineRuntime
from export.runtimes.runtime import RuntimeFailure


class TritonPythonModel:
    """One instance of one model: one engine, one execution context a profile, one CUDA stream, pinned host memory."""

    @staticmethod
    def auto_complete_config(auto_complete_model_config):
        """Nothing is missing that the engine could tell: names, types and shapes are the contract's."""
        return auto_complete_model_config

    def initialize(self, args):
        """Load the engine that fits this GPU.

        Raises:
            TritonModelException: no library, no CUDA device, no engine for it, or one that does not load; says what to
                do.
        """
        config = json.loads(args["model_config"])
        self._silence = Silence(config)
        folder = Path(args["model_repository"]) / args["model_version"]
        try:
            record, device = manifest.read(folder), gpu.installed()
            if reason := plans.unfit(record, device):
                raise RuntimeFailure(reason)
            plan = plans.fitting(record, device)
            if plan is None:
                raise RuntimeFailure(f"{folder} has no engine: publish one")
            weights = folder / artefact.WEIGHTS_FILE
            library = provider.find(plan.provider)
            self._runtime = EngineRuntime(
                library, folder / plan.file, weights if weights.is_file() else None, _hot(config)
            )
        except AlexNetError as error:
            raise pb_utils.TritonModelException(str(error)) from error
        self._input = config["input"][0]["name"]
        name, version = args["model_name"], args["model_version"]
        self._turns = Turns(name)
        self._metrics = Metrics(name, version)
        self._traffic = Traffic(name, version, config, Questions(folder))
        self._facts = EngineMetrics(name, version, library, folder / plan.file, self._runtime.device_memory)

    def execute(self, requests):
        """One run for all the requests of a dynamic batch."""
        with self._silence.unless_in_time():
            batch, sizes, wanted = collect(requests, self._input)
            gathered = time.perf_counter()
            with self._turns.mine():
                started = time.perf_counter()
                try:
                    outputs = self._runtime.run(batch, wanted)
                except RuntimeFailure as error:
                    raise pb_utils.TritonModelException(str(error)) from error
                seconds = time.perf_counter() - started
            self._metrics.observe(len(batch), seconds, (started - gathered) * len(requests))
            self._traffic.count(batch, outputs)
            return answer(requests, sizes, outputs)

    def finalize(self):
        """Free device and host memory."""
        self._runtime.close()


def _hot(config):
    """Batch sizes to record as CUDA graphs."""
    cuda = config.get("optimization", {}).get("cuda", {})
    return [int(spec["batch_size"]) for spec in cuda.get("graph_spec", [])] if cuda.get("graphs") else []
