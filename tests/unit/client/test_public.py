"""Promises of the distribution: what is public, what importing it costs, what its errors say."""

import subprocess
import sys

import grpc
import pytest
from tritonclient.utils import InferenceServerException

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
)
from alexnet_client._errors import translate

PUBLIC = [
    "AlexNetClient",
    "AlexNetError",
    "DeadlineExceeded",
    "Health",
    "ImageLike",
    "InvalidImage",
    "InvalidRequest",
    "Overloaded",
    "Prediction",
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


def test_every_status_has_a_meaning() -> None:
    assert set(MEANINGS) == {code.name for code in grpc.StatusCode} - {"OK"}
    for name, kind in MEANINGS.items():
        error = translate(InferenceServerException("what", f"StatusCode.{name}"), "m", "u", 5)
        assert type(error) is kind, name
        assert isinstance(error, AlexNetError)


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
    assert type(translate(InferenceServerException(message, "StatusCode.UNAVAILABLE"), "m", "u", 5)) is kind


def test_the_image_at_fault_is_counted_from_the_calls_first() -> None:
    error = InferenceServerException("image 3: got an empty image", "StatusCode.INVALID_ARGUMENT")
    got = translate(error, "m", "u", 5, first=32, count=32)
    assert isinstance(got, InvalidImage)
    assert (got.index, str(got)) == (35, "image 35: got an empty image")


@pytest.mark.parametrize("timeout", [0, -1, float("inf"), float("nan"), None])
def test_a_deadline_is_finite_and_positive(timeout) -> None:
    with pytest.raises(InvalidRequest, match="want seconds, more than 0 and finite"):
        AlexNetClient(timeout=timeout)


def test_a_url_has_no_scheme() -> None:
    with pytest.raises(InvalidRequest, match="without a scheme"):
        AlexNetClient("http://127.0.0.1:8000")
