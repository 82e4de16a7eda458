"""Promises of the distribution: what is public, what importing it costs, what its errors say."""

import pickle
import subprocess
import sys

import grpc
import numpy as np
import pytest

import alexnet_client
from alexnet_client import (
    AlexNetClient,
    AlexNetError,
    DeadlineExceeded,
    InvalidImage,
    InvalidRequest,
    Overloaded,
    ServerError,
    Unavailable,
    UnknownModel,
    refusal,
)
from alexnet_client.__main__ import parser
from alexnet_client._errors import translate
from alexnet_client._options import MAX_TIMEOUT, Options
from alexnet_client._request import Part
from alexnet_client.contract import DEFAULT_MODEL
from alexnet_client.undecodable import UndecodableImage

PUBLIC = [
    "AlexNetClient",
    "AlexNetError",
    "DeadlineExceeded",
    "Health",
    "ImageLike",
    "InvalidImage",
    "InvalidRequest",
    "Outputs",
    "Overloaded",
    "Prediction",
    "PredictionsAndEmbedding",
    "ServerError",
    "Unavailable",
    "UnknownModel",
]


def test_the_public_surface_is_pinned() -> None:
    assert alexnet_client.__all__ == PUBLIC
    assert all(getattr(alexnet_client, name).__doc__ for name in PUBLIC if name != "ImageLike")


def test_importing_it_imports_no_torch_and_is_quick() -> None:
    program = """
import sys, time
started = time.process_time()
import alexnet_client
print(time.process_time() - started)
heavy = {"torch", "onnx", "onnxruntime", "matplotlib", "tensorrt"} & set(sys.modules)
assert not heavy, heavy
"""
    runs = [
        float(subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True).stdout)
        for _ in range(3)
    ]
    assert min(runs) < 0.5, f"{min(runs):.2f} s of processor time"


def test_the_version_is_the_changelogs() -> None:
    from importlib.metadata import version
    from pathlib import Path

    changelog = (Path(__file__).parents[3] / "CHANGELOG.md").read_text()
    newest = next(line for line in changelog.splitlines() if line.startswith("## "))
    assert newest.split()[1] == alexnet_client.__version__ == version("alexnet-client")


MEANINGS = {
    "CANCELLED": ServerError,
    "UNKNOWN": ServerError,
    "INVALID_ARGUMENT": InvalidRequest,
    "DEADLINE_EXCEEDED": DeadlineExceeded,
    "NOT_FOUND": UnknownModel,
    "ALREADY_EXISTS": InvalidRequest,
    "PERMISSION_DENIED": ServerError,
    "RESOURCE_EXHAUSTED": ServerError,
    "FAILED_PRECONDITION": InvalidRequest,
    "ABORTED": ServerError,
    "OUT_OF_RANGE": InvalidRequest,
    "UNIMPLEMENTED": ServerError,
    "INTERNAL": ServerError,
    "UNAVAILABLE": Unavailable,
    "DATA_LOSS": ServerError,
    "UNAUTHENTICATED": ServerError,
}


OPTIONS = Options("u:1", "m", 5)


def meaning(status: str, message: str = "what", part: Part | None = None) -> AlexNetError:
    return translate(status, message, OPTIONS, part or Part(0, ()))


def test_every_status_has_a_meaning() -> None:
    assert set(MEANINGS) == {code.name for code in grpc.StatusCode} - {"OK"}
    for name, kind in MEANINGS.items():
        error = meaning(name)
        assert type(error) is kind, name
        assert isinstance(error, AlexNetError)


@pytest.mark.parametrize("status", ["UNAVAILABLE", "NOT_FOUND"])
@pytest.mark.parametrize("reason", ["has no available versions", "version 2 is not at ready state"])
def test_a_model_that_is_being_loaded_is_not_unknown(status: str, reason: str) -> None:
    got = meaning(status, f"Request for unknown model: 'alexnet' {reason}")
    assert type(got) is Unavailable
    assert "is being loaded" in str(got)


@pytest.mark.parametrize(
    ("message", "kind"),
    [
        ("[request id: <id_unknown>] Exceeds maximum queue size", Overloaded),
        ("Request timeout expired", Overloaded),
        ("failed to connect to all addresses", Unavailable),
        ("Request for unknown model: 'x' is not found", UnknownModel),
    ],
)
def test_the_meanings_of_unavailable_are_told_apart(message: str, kind: type) -> None:
    assert type(meaning("UNAVAILABLE", message)) is kind


def test_images_at_fault_are_counted_from_the_calls_first() -> None:
    said = refusal.message({3: "got an empty image", 8: "got text; image 9: a trap"})
    got = meaning("INVALID_ARGUMENT", f"in ensemble 'alexnet', {said}", Part(32, [b"x"] * 8 + ["a.png"]))
    assert isinstance(got, InvalidImage)
    assert got.images == {35: "got an empty image", 40: "got text; image 9: a trap"}
    assert got.index == 35
    assert str(got) == "image 35: got an empty image; image 40 (a.png): got text; image 9: a trap"


@pytest.mark.parametrize("message", ["image 0: is not the matter", "images that cannot be used: ", "unexpected shape"])
def test_what_the_decoder_did_not_say_is_blamed_on_no_image(message: str) -> None:
    assert type(meaning("INVALID_ARGUMENT", message, Part(0, [b"x"]))) is InvalidRequest


def test_errors_travel_between_processes() -> None:
    for error in (InvalidImage({3: "why"}, {3: "a.png"}), UndecodableImage("corrupt", "why")):
        again = pickle.loads(pickle.dumps(error))
        assert (type(again), str(again), vars(again)) == (type(error), str(error), vars(error))


@pytest.mark.parametrize("timeout", [0, -1, float("inf"), float("nan"), None, True, "5"])
def test_a_deadline_is_finite_and_positive(timeout) -> None:
    with pytest.raises(InvalidRequest, match="want seconds, more than 0 and finite"):
        AlexNetClient(timeout=timeout)


def test_a_deadline_beyond_a_day_is_refused_and_a_day_is_none() -> None:
    with pytest.raises(InvalidRequest, match=r"timeout is 1000000000000.0 s: want at most 86,400.*overflows"):
        AlexNetClient(timeout=1e12)
    AlexNetClient(timeout=MAX_TIMEOUT).close()
    AlexNetClient(timeout=np.float32(2)).close()


@pytest.mark.parametrize("url", ["http://127.0.0.1:8000", "grpc://triton:8001"])
def test_a_url_has_no_scheme(url: str) -> None:
    with pytest.raises(InvalidRequest, match="without a scheme"):
        AlexNetClient(url)


@pytest.mark.parametrize(
    "url", ["", None, 8001, "localhost", ":8001", "host:", "host:0", "host:65536", "a b:1", "::1:80"]
)
def test_a_url_is_a_host_and_a_port(url, capfd) -> None:
    with pytest.raises(InvalidRequest, match="want host:port of the gRPC endpoint, such as '127.0.0.1:8001'"):
        AlexNetClient(url)
    assert capfd.readouterr() == ("", "")


@pytest.mark.parametrize("url", ["localhost:8001", "[::1]:8001", "triton.example_ns.svc:65535"])
def test_hosts_have_names_and_numbers(url: str) -> None:
    with AlexNetClient(url) as client:
        assert client.url == url


@pytest.mark.parametrize("model", ["", None])
def test_a_model_has_a_name(model) -> None:
    with pytest.raises(InvalidRequest, match="want a model's name, such as 'alexnet'"):
        AlexNetClient(model=model)


def test_library_and_command_line_ask_the_same_model() -> None:
    with AlexNetClient() as client:
        asked = parser().parse_args(["classify", "a.png"])
        assert (client.url, client.model, client.timeout) == (asked.url, asked.model, asked.timeout)
        assert client.model == DEFAULT_MODEL
