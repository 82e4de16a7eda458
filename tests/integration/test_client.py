"""The client and its command line against a real server."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
import threading
import time
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from alexnet_client import (
    AlexNetClient,
    DeadlineExceeded,
    InvalidImage,
    InvalidRequest,
    Overloaded,
    Prediction,
    Unavailable,
    UnknownModel,
)
from alexnet_client.__main__ import main
from deploy.serve.server import LocalServer
from export.runtimes.onnx import OnnxPredictor
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
    wanted = OnnxPredictor(built.artefacts / name / "model.onnx")(pixels)
    with AlexNetClient(server.grpc_url, model) as client:
        got = client.classify(files, top_k=3)
        vectors = client.embed(files)
    for predictions, probabilities in zip(got, wanted.probabilities, strict=True):
        order = np.argsort(-probabilities)[:3]
        assert [p.index for p in predictions] == order.tolist()
        assert [p.label for p in predictions] == [some.labels[i] for i in order]
        assert [p.probability for p in predictions] == pytest.approx(probabilities[order].tolist(), abs=1e-5)
    np.testing.assert_allclose(vectors, wanted.embedding, atol=1e-4)


def test_many_images_are_split_and_come_back_in_order(server: LocalServer, some: ImageSet) -> None:
    with AlexNetClient(server.grpc_url, "alexnet") as client:
        every = [some.file(i) for i in range(200)]
        together = client.embed(every)
        assert together.shape == (200, 4096)
        for index in (0, 31, 32, 150, 199):
            np.testing.assert_allclose(together[index], client.embed(every[index])[0], atol=1e-4)


def test_ten_thousand_and_one_images_in_one_call(server: LocalServer) -> None:
    """More than any batch: the client splits them. They are one picture, sent again and again by reference."""
    picture = np.zeros((224, 224, 3), np.uint8)
    with AlexNetClient(server.grpc_url, "alexnet_int8", timeout=30) as client:
        got = client.classify([picture] * 10_001, top_k=1)
    assert len(got) == 10_001
    assert len({predictions[0] for predictions in got}) == 1


def test_none_at_all_is_none_at_all(server: LocalServer) -> None:
    with AlexNetClient(server.grpc_url) as client:
        assert client.classify([]) == []
        assert client.embed([]).shape == (0, 4096)


def test_one_bad_image_among_many_is_named(server: LocalServer, some: ImageSet) -> None:
    images: list = [some.file(i) for i in range(70)]
    images[69] = np.zeros((5, 5), np.float64)
    for model in ("alexnet", "alexnet_int8"):
        with AlexNetClient(server.grpc_url, model) as client, pytest.raises(InvalidImage, match="image 69") as caught:
            client.embed(images)
        assert caught.value.index == 69


def test_health_names_server_and_models(server: LocalServer) -> None:
    with AlexNetClient(server.grpc_url) as client:
        health = client.health()
    assert health.live
    assert health.ready
    assert health.server == "triton"
    assert health.models == ("alexnet_fp32", "alexnet_int8", "alexnet")


def test_what_is_not_served_is_said_so(server: LocalServer) -> None:
    with AlexNetClient(server.grpc_url, "alexnet_fp16") as client, pytest.raises(UnknownModel, match="alexnet_fp16"):
        client.embed(np.zeros((224, 224, 3), np.uint8))
    with AlexNetClient("127.0.0.1:1") as client, pytest.raises(Unavailable, match="no server answers at 127.0.0.1:1"):
        client.classify(b"x")


def test_a_deadline_that_passes_is_an_error_in_time(server: LocalServer) -> None:
    picture = np.zeros((224, 224, 3), np.uint8)
    with AlexNetClient(server.grpc_url, "alexnet_fp32", timeout=0.02) as client:
        client._largest = 32
        started = time.monotonic()
        with pytest.raises((DeadlineExceeded, Overloaded)):
            client.embed([picture] * 32)
        assert time.monotonic() - started < 2


def test_a_full_queue_is_overload_and_the_server_recovers(server: LocalServer) -> None:
    """1,000 requests of one image at once, where 512 may wait: some are refused at once, the others answered."""
    import tritonclient.grpc as triton
    from tritonclient.utils import InferenceServerException

    from alexnet_client._errors import translate

    pixels = np.zeros((1, 224, 224, 3), np.uint8)
    done = threading.Semaphore(0)
    outcomes: list[Exception | None] = []

    def finished(result, error) -> None:
        outcomes.append(error)
        done.release()

    with triton.InferenceServerClient(server.grpc_url) as client:
        tensor = triton.InferInput("image", list(pixels.shape), "UINT8")
        tensor.set_data_from_numpy(pixels)
        for _ in range(1000):
            client.async_infer("alexnet_fp32", [tensor], finished, client_timeout=60)
        for _ in range(1000):
            assert done.acquire(timeout=60)
        errors = [error for error in outcomes if error is not None]
        assert errors, "1,000 requests at once, and none was refused"
        assert len(errors) < 1000
        for error in errors:
            assert isinstance(error, InferenceServerException)
            assert isinstance(translate(error, "alexnet_fp32", "", 60), Overloaded), error
    with AlexNetClient(server.grpc_url, "alexnet_fp32") as again:
        assert again.embed(pixels[0]).shape == (1, 4096)


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


def test_a_closed_client_says_so_and_closes_again(server: LocalServer) -> None:
    client = AlexNetClient(server.grpc_url)
    client.close()
    client.close()
    assert "closed" in repr(client)
    with pytest.raises(Unavailable, match="was closed"):
        client.embed(b"x")


def test_a_senseless_top_k_is_refused(server: LocalServer) -> None:
    with AlexNetClient(server.grpc_url) as client, pytest.raises(InvalidRequest, match="top_k is 0"):
        client.classify(b"x", top_k=0)


def test_the_command_line(server: LocalServer, files: list[Path], tmp_path: Path, capsys) -> None:
    url = ["--url", server.grpc_url]
    names = [str(path) for path in files[:3]]
    assert main(["classify", *url, "--top-k", "2", *names]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert [line.split(": ")[0] for line in lines] == names
    assert main(["classify", *url, "--json", "--top-k", "1", *names]) == 0
    values = [json.loads(line) for line in capsys.readouterr().out.splitlines()]
    assert [value["image"] for value in values] == names
    assert Prediction(**values[0]["predictions"][0]).label in lines[0]
    output = tmp_path / "vectors.npy"
    assert main(["embed", *url, "--output", str(output), *names]) == 0
    assert np.load(output).shape == (3, 4096)
    assert [path.name for path in tmp_path.iterdir()] == ["vectors.npy"]
    capsys.readouterr()
    assert main(["health", *url]) == 0
    assert "ready\nmodels: alexnet_fp32, alexnet_int8, alexnet\n" in capsys.readouterr().out
    assert main(["health", *url, "--json"]) == 0
    assert json.loads(capsys.readouterr().out)["ready"] is True


@pytest.mark.parametrize(
    ("arguments", "status", "message"),
    [
        (["classify", "no-such.png"], 2, "no-such.png"),
        (["classify", "{text}"], 2, "no JPEG, PNG, WEBP or GIF file"),
        (["classify", "{image}", "--model", "alexnet_int4"], 2, "does not serve 'alexnet_int4'"),
        (["classify", "{image}", "--top-k", "0"], 2, "top_k is 0"),
        (["classify", "{image}", "--timeout", "-1"], 2, "want seconds"),
        (["health", "--url", "127.0.0.1:1"], 3, "no server answers"),
        (["classify", "{image}", "--timeout", "0.0001"], 4, "did not answer within"),
        (["embed", "{image}", "--output", "/proc/forbidden/x.npy"], 1, "/proc/forbidden"),
    ],
)
def test_mistakes_are_one_line_and_an_exit_status(
    server: LocalServer, files: list[Path], tmp_path: Path, capsys, arguments: list[str], status: int, message: str
) -> None:
    text = tmp_path / "text.png"
    text.write_text("no image")
    filled = [argument.format(text=text, image=files[0]) for argument in arguments]
    if "--url" not in filled:
        filled += ["--url", server.grpc_url]
    assert main(filled) == status
    errors = capsys.readouterr().err
    assert message in errors
    assert len(errors.splitlines()) == 1


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
