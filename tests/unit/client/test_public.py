"""Promises of the distribution: what is public, what importing it costs, what its errors say."""

import inspect
import pickle
import subprocess
import sys
from collections.abc import Mapping, Sequence

import grpc
import numpy as np
import pytest

import alexnet_client
from alexnet_client import (
    AlexNetClient,
    AlexNetError,
    AsyncAlexNetClient,
    DeadlineExceeded,
    Failure,
    InvalidImage,
    InvalidRequest,
    NotPermitted,
    Overloaded,
    RequestError,
    ServerError,
    Unavailable,
    UnknownModel,
    refusal,
)
from alexnet_client.__main__ import parser
from alexnet_client._errors import translate
from alexnet_client._options import MAX_TIMEOUT, Options
from alexnet_client.contract import DEFAULT_MODEL
from alexnet_client.undecodable import UndecodableImage

PUBLIC = [
    "TLS",
    "AlexNetClient",
    "AlexNetError",
    "Answer",
    "AnswerMismatch",
    "AsyncAlexNetClient",
    "ClientClosed",
    "DeadlineExceeded",
    "Failure",
    "Health",
    "ImageLike",
    "InvalidImage",
    "InvalidRequest",
    "ModelMetadata",
    "ModelState",
    "NotPermitted",
    "Outputs",
    "Overloaded",
    "Prediction",
    "PredictionsAndEmbedding",
    "RequestError",
    "Retry",
    "ServerError",
    "SharedMemoryWarning",
    "TensorMetadata",
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
    "CANCELLED": Unavailable,
    "UNKNOWN": ServerError,
    "INVALID_ARGUMENT": InvalidRequest,
    "DEADLINE_EXCEEDED": DeadlineExceeded,
    "NOT_FOUND": UnknownModel,
    "ALREADY_EXISTS": InvalidRequest,
    "PERMISSION_DENIED": NotPermitted,
    "RESOURCE_EXHAUSTED": Overloaded,
    "FAILED_PRECONDITION": InvalidRequest,
    "ABORTED": ServerError,
    "OUT_OF_RANGE": InvalidRequest,
    "UNIMPLEMENTED": ServerError,
    "INTERNAL": ServerError,
    "UNAVAILABLE": Unavailable,
    "DATA_LOSS": ServerError,
    "UNAUTHENTICATED": NotPermitted,
}


def meaning(
    status: str, message: str = "what", places: Sequence[int] = (), names: Mapping[int, str] | None = None
) -> AlexNetError:
    return translate(Failure(status, message, "u:1", "m"), places, names)


def test_every_status_has_a_meaning() -> None:
    assert set(MEANINGS) == {code.name for code in grpc.StatusCode} - {"OK"}
    for name, kind in MEANINGS.items():
        error = meaning(name)
        assert type(error) is kind, name
        assert isinstance(error, RequestError)
        assert isinstance(error, AlexNetError)


def test_images_at_fault_are_counted_from_the_calls_first() -> None:
    said = refusal.message({3: "got an empty image", 8: "got text; image 9: a trap"})
    got = meaning("INVALID_ARGUMENT", f"in ensemble 'alexnet', {said}", range(32, 41), {40: "a.png"})
    assert isinstance(got, InvalidImage)
    assert got.images == {35: "got an empty image", 40: "got text; image 9: a trap"}
    assert got.index == 35
    assert str(got) == "image 35: got an empty image; image 40 (a.png): got text; image 9: a trap"


@pytest.mark.parametrize("message", ["image 0: is not the matter", "images that cannot be used: ", "unexpected shape"])
def test_what_the_decoder_did_not_say_is_blamed_on_no_image(message: str) -> None:
    assert type(meaning("INVALID_ARGUMENT", message, [0])) is InvalidRequest


def test_errors_travel_between_processes() -> None:
    for error in (InvalidImage({3: "why"}, {3: "a.png"}), UndecodableImage("corrupt", "why")):
        again = pickle.loads(pickle.dumps(error))
        assert (type(again), str(again), vars(again)) == (type(error), str(error), vars(error))


@pytest.mark.parametrize("timeout", [0, -1, float("inf"), float("nan"), True, "5"])
def test_a_deadline_is_finite_and_positive(timeout) -> None:
    with pytest.raises(InvalidRequest, match="want seconds, more than 0 and finite"):
        AlexNetClient(timeout=timeout)


def test_a_deadline_beyond_a_day_is_refused_and_a_day_is_none() -> None:
    with pytest.raises(InvalidRequest, match=r"timeout is 1000000000000.0 s: want at most 86,400.*overflows"):
        AlexNetClient(timeout=1e12)
    AlexNetClient(timeout=MAX_TIMEOUT).close()
    AlexNetClient(timeout=np.float32(2)).close()


def test_several_servers_are_named_by_address_or_by_one_name() -> None:
    for url in ("10.0.0.1:8001,10.0.0.2:8001", ["10.0.0.1:8001", "10.0.0.2:8001"]):
        options = Options(url, "alexnet", 5)
        assert (options.target, options.balanced) == ("ipv4:10.0.0.1:8001,10.0.0.2:8001", True)
        assert AlexNetClient(url).url == "10.0.0.1:8001,10.0.0.2:8001"
    assert Options(["[::1]:80", "[::2]:80"], "alexnet", 5).target == "ipv6:[::1]:80,[::2]:80"
    name = Options("dns:///alexnet-headless.prod.svc:8001", "alexnet", 5)
    assert (name.target, name.balanced) == ("dns:///alexnet-headless.prod.svc:8001", True)
    assert not Options("localhost:8001", "alexnet", 5).balanced
    with pytest.raises(InvalidRequest, match="'triton-1:80' among several: want addresses.*or one dns:///NAME:PORT"):
        AlexNetClient(["10.0.0.1:80", "triton-1:80"])
    with pytest.raises(InvalidRequest, match="all IPv4 or all IPv6"):
        AlexNetClient("10.0.0.1:80,[::1]:80")


@pytest.mark.parametrize("metadata", [{"Upper": "a"}, {"": "a"}, {"a": "\n"}, {"a": 1}, {"grpc-timeout": "1"}])
def test_metadata_that_cannot_be_sent_is_refused_and_not_shown(metadata: dict) -> None:
    with pytest.raises(InvalidRequest, match="metadata"):
        AlexNetClient(metadata=metadata)
    with AlexNetClient(metadata={"authorization": "secret"}) as client:
        assert "secret" not in repr(client)
        assert "secret" not in repr(client._core.options)


def test_both_clients_have_the_same_calls() -> None:
    """Name for name, argument for argument, answer for answer; one is waited for."""

    def calls(kind: type) -> dict[str, object]:
        found: dict[str, object] = {}
        for name, value in inspect.getmembers(kind):
            if name.startswith("_") and name != "__init__":
                continue
            if callable(value):
                signature = str(inspect.signature(value))
                found[name] = signature.replace("Iterable[ImageLike] | AsyncIterable[ImageLike]", "Iterable[ImageLike]")
            else:
                found[name] = type(value)
        return {name: str(text).replace("AsyncIterator", "Iterator") for name, text in found.items()}

    assert calls(AsyncAlexNetClient) == calls(AlexNetClient)
    waited = {name for name, _ in inspect.getmembers(AsyncAlexNetClient, inspect.iscoroutinefunction) if name[0] != "_"}
    assert waited == {"classify", "embed", "classify_and_embed", "infer", "health", "models", "metadata", "close"}
    for kind in (AlexNetClient, AsyncAlexNetClient):
        assert not hasattr(kind, "__del__")


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
