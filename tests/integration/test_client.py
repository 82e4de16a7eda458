"""The client against a real server: what the fake of tests/unit/client could get wrong."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from alexnet_client import (
    AlexNetClient,
    DeadlineExceeded,
    InvalidRequest,
    Overloaded,
    SharedMemoryWarning,
    UnknownModel,
)
from alexnet_client.contract import CHECKSUM, IMAGE
from deploy.serve.server import LocalServer
from export.runtimes.onnx import OnnxRuntime
from tests.conftest import Built
from training.data.image_set import ImageSet
from training.data.open import open_split


@pytest.fixture(scope="module")
def some(built: Built) -> ImageSet:
    return open_split(built.data, "test")


@pytest.fixture(scope="module")
def files(some: ImageSet, tmp_path_factory: pytest.TempPathFactory) -> list[Path]:
    folder = tmp_path_factory.mktemp("files")
    paths = [folder / f"{index}.png" for index in range(0, 200, 20)]
    for path in paths:
        path.write_bytes(some.file(int(path.stem)))
    return paths


@pytest.mark.parametrize("model", ["alexnet", "alexnet_int8", "alexnet_fp32"])
def test_classes_are_those_of_the_artefact(
    server: LocalServer, built: Built, some: ImageSet, files: list[Path], model: str
) -> None:
    """Labels, order and probabilities, against ONNX Runtime on the same pixels."""
    name = "fp32" if model == "alexnet_fp32" else "int8-cpu"
    pixels = np.stack([some[int(path.stem)][0] for path in files])
    wanted = OnnxRuntime(built.artefacts / name / "model.onnx")(pixels)
    with AlexNetClient(server.grpc_url, model) as client:
        got = client.classify(files, top_k=3)
        together, vectors = client.classify_and_embed(files, top_k=3)
        raw = client.infer(files)
    assert [[p.index for p in row] for row in together] == [[p.index for p in row] for row in got]
    np.testing.assert_allclose(raw.probabilities, wanted.probabilities, atol=1e-5)
    np.testing.assert_allclose(raw.embedding, vectors, atol=1e-4)
    for predictions, probabilities in zip(got, wanted.probabilities, strict=True):
        order = np.argsort(-probabilities)[:3]
        assert [p.index for p in predictions] == order.tolist()
        assert [p.label for p in predictions] == [some.labels[i] for i in order]
        assert [p.probability for p in predictions] == pytest.approx(probabilities[order].tolist(), abs=1e-5)
    np.testing.assert_allclose(vectors, wanted.embedding, atol=1e-4)


def test_health_names_server_and_models(server: LocalServer) -> None:
    with AlexNetClient(server.grpc_url) as client:
        health = client.health()
    assert health.live
    assert health.ready
    assert health.server == "triton"
    assert health.models == ("alexnet_fp32", "alexnet_int8", "alexnet")


def test_this_server_maps_nobodys_memory(server: LocalServer) -> None:
    picture = np.full(IMAGE.shape, 90, np.uint8)
    with AlexNetClient(server.grpc_url, "alexnet_int8", shared_memory=True) as client:
        with pytest.warns(SharedMemoryWarning, match="PERMISSION_DENIED"):
            first = client.embed(picture)
        np.testing.assert_allclose(client.embed(picture), first, atol=1e-4)


def test_what_is_not_served_is_said_so(server: LocalServer) -> None:
    with AlexNetClient(server.grpc_url, "alexnet_fp16") as client, pytest.raises(UnknownModel, match="alexnet_fp16"):
        client.embed(np.zeros(IMAGE.shape, np.uint8))


def test_a_deadline_that_passes_is_an_error_in_time(server: LocalServer) -> None:
    picture = np.zeros(IMAGE.shape, np.uint8)
    with AlexNetClient(server.grpc_url, "alexnet_fp32", timeout=0.02) as client:
        started = time.monotonic()
        with pytest.raises((DeadlineExceeded, Overloaded)):
            client.embed([picture] * 32)
        assert time.monotonic() - started < 2


def test_a_full_queue_is_overload_and_the_server_recovers(server: LocalServer) -> None:
    """1,000 threads of one client at once, where 512 requests may wait: some are refused, the others answered."""
    picture = np.zeros(IMAGE.shape, np.uint8)
    with AlexNetClient(server.grpc_url, "alexnet_fp32", timeout=60) as client:

        def refused(_: int) -> bool:
            try:
                client.embed(picture)
            except Overloaded:
                return True
            return False

        with ThreadPoolExecutor(1000) as pool:
            count = sum(pool.map(refused, range(1000)))
        assert 0 < count < 1000
        assert client.embed(picture).shape == (1, 4096)


def test_a_refusal_that_is_not_about_the_image_blames_none(server: LocalServer, some: ImageSet) -> None:
    """The decoder has no probabilities to give, and no network's checksum."""
    with AlexNetClient(server.grpc_url, "alexnet_decode") as client, pytest.raises(InvalidRequest) as caught:
        client.classify(some.file(0))
    assert type(caught.value) is InvalidRequest
    assert CHECKSUM.name in str(caught.value)


def test_a_flood_of_files_through_the_ensemble_is_answered_or_refused_and_never_hangs(
    server: LocalServer, some: ImageSet
) -> None:
    import tritonclient.grpc as triton

    done = threading.Semaphore(0)
    with triton.InferenceServerClient(server.grpc_url) as client:
        tensor = triton.InferInput("encoded", [1, 1], "BYTES")
        tensor.set_data_from_numpy(np.array([[some.file(0)]], dtype=object))
        for _ in range(1500):
            client.async_infer("alexnet", [tensor], lambda result, error: done.release(), client_timeout=60)
        for _ in range(1500):
            assert done.acquire(timeout=60)
    with AlexNetClient(server.grpc_url, "alexnet") as again:
        assert again.embed(some.file(0)).shape == (1, 4096)


def test_the_readmes_quickstart_runs(server: LocalServer, files: list[Path], tmp_path: Path) -> None:
    text = (Path(__file__).parents[2] / "client/README.md").read_text()
    program = text.split("```python\n")[1].split("```")[0].replace("127.0.0.1:8001", server.grpc_url)
    for name, path in zip(("boot.png", "sandal.png"), files, strict=False):
        Image.open(path).save(tmp_path / name)
    done = subprocess.run([sys.executable, "-c", program], cwd=tmp_path, capture_output=True, text=True, check=True)
    assert len(done.stdout.splitlines()) == 3


def test_the_wheel_installs_alone_and_works_from_there(server: LocalServer, files: list[Path], tmp_path: Path) -> None:
    """An environment with nothing but the distribution and what it asks for."""
    root = Path(__file__).parents[2]
    environment = {key: value for key, value in os.environ.items() if not key.startswith("PYTHON")}
    subprocess.run([sys.executable, "-m", "venv", tmp_path / "venv"], check=True)
    pip = [tmp_path / "venv/bin/pip", "install", "--quiet", "--disable-pip-version-check"]
    shutil.copytree(root / "client", tmp_path / "client", ignore=shutil.ignore_patterns("build", "*.egg-info"))
    subprocess.run([*pip, "-c", root / "constraints.txt", tmp_path / "client"], check=True, env=environment)
    done = subprocess.run(
        [tmp_path / "venv/bin/alexnet-client", "classify", "--url", server.grpc_url, files[0]],
        capture_output=True, text=True, check=True, env=environment, cwd=tmp_path,
    )  # fmt: skip
    assert done.stdout.startswith(str(files[0]))
    listed = subprocess.run([pip[0], "list"], capture_output=True, text=True, check=True).stdout
    assert "torch" not in listed
