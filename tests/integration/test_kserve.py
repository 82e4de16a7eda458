"""What KServe's manifests say is run, by the real server, and asked by KServe's own protocol."""

from __future__ import annotations

import shutil
from pathlib import Path

import numpy as np
from tritonclient.grpc import InferenceServerClient, InferInput

from alexnet_client.contract import EMBEDDING, IMAGE
from deploy.serve.ports import free_ports
from export.artefacts import artefact
from export.runtimes.onnx import OnnxRuntime
from tests.conftest import Built
from tests.kserve import STORAGE, deployment
from tests.pods import Pod
from tests.waiting import PATIENCE, wait_until

MODEL = "alexnet_int8"


def test_the_runtimes_container_answers_by_kserves_protocol(
    built: Built, int8_repository: Path, tmp_path: Path
) -> None:
    """Right answers, from the claim as KServe mounts it; the probes tell when."""
    ports = free_ports()
    shutil.copytree(int8_repository, tmp_path / STORAGE / "repository")
    pictures = np.random.default_rng(0).integers(0, 256, (2, *IMAGE.shape), np.uint8)
    right = OnnxRuntime(built.artefacts / "int8-cpu" / artefact.MODEL_FILE)(pictures)
    here = f"--host={ports.host}", f"--grpc-port={ports.grpc}", f"--metrics-port={ports.metrics}"
    pod = Pod(deployment(*here), tmp_path, f"{ports.host}:{ports.grpc}")
    with pod.running():
        wait_until(lambda: pod.passes("startup"), "the startup probe")
        assert pod.passes("readiness")
        with InferenceServerClient(f"{ports.host}:{ports.grpc}") as client:
            assert client.is_server_ready()
            assert client.is_model_ready(MODEL)
            (told,) = client.get_model_metadata(MODEL).inputs
            tensor = InferInput(told.name, list(pictures.shape), told.datatype)
            tensor.set_data_from_numpy(pictures)
            answer = client.infer(MODEL, [tensor], client_timeout=PATIENCE)
    np.testing.assert_allclose(answer.as_numpy(EMBEDDING.name), right.embedding, rtol=1e-3, atol=1e-3)
