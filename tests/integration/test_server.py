"""A real tritonserver, asked by third-party clients."""

from __future__ import annotations

import os
import re
import subprocess
import time
import urllib.error
import urllib.request
from pathlib import Path

import grpc
import numpy as np
import pytest
import tritonclient.grpc as triton_grpc
import tritonclient.http as triton_http
from prometheus_client.parser import text_string_to_metric_families
from tritonclient.utils import InferenceServerException

from alexnet_client import AlexNetClient, contract
from deploy.loadtest.perf_analyzer import measure
from deploy.loadtest.photograph import photograph
from deploy.serve import processes
from deploy.serve.server import LocalServer
from deploy.serve.times import Times
from export.proof.compare import compare
from export.runtimes.onnx import OnnxRuntime
from tests.conftest import Built
from tests.waiting import PATIENCE, wait_until
from training import checkpoint
from training.data.open import open_split
from training.predictions import predict
from training.torch_predictor import TorchPredictor

BAD_REQUESTS = 100


@pytest.fixture(scope="module")
def pixels(built: Built) -> np.ndarray:
    """Twelve test images, ``uint8[12, 224, 224, 3]``."""
    images = open_split(built.data, "test")
    return np.stack([images[index][0] for index in range(0, len(images), len(images) // 12)][:12])


def infer(client, library, model: str, tensors: dict[str, tuple[np.ndarray, str]], **options):
    inputs = []
    for name, (array, dtype) in tensors.items():
        inputs.append(library.InferInput(name, list(array.shape), dtype))
        inputs[-1].set_data_from_numpy(array)
    return client.infer(model, inputs, **options)


def test_everything_published_is_served(server: LocalServer) -> None:
    assert set(server.models) == {"alexnet_fp32", "alexnet_int8", contract.DECODER, contract.ENSEMBLE}
    assert server.refused == {}


@pytest.mark.parametrize("library", [triton_grpc, triton_http])
def test_tritonclient_gets_both_outputs_and_labels(server: LocalServer, pixels: np.ndarray, library) -> None:
    url = server.grpc_url if library is triton_grpc else server.http_url
    with library.InferenceServerClient(url) as client:
        outputs = [
            library.InferRequestedOutput("probabilities", class_count=2),
            library.InferRequestedOutput("embedding"),
        ]
        answer = infer(client, library, "alexnet_int8", {"image": (pixels, "UINT8")}, outputs=outputs)
        top = answer.as_numpy("probabilities")
        assert top.shape == (12, 2)
        probability, index, label = top[0, 0].decode().split(":")
        assert 0 < float(probability) <= 1
        assert label == client_labels(server)[int(index)]
        assert answer.as_numpy("embedding").shape == (12, 4096)


def client_labels(server: LocalServer) -> list[str]:
    return (server.repository / "alexnet_int8" / "labels.txt").read_text().splitlines()


def test_the_same_numbers_everywhere(server: LocalServer, built: Built) -> None:
    """PyTorch, FP32 ONNX and served FP32 within 1e-5, and what is served is what was proved."""
    images = open_split(built.data, "test")
    pytorch, _ = predict(TorchPredictor(checkpoint.load(built.checkpoint).model, "0" * 64), images, "PyTorch")
    for name, model in (("fp32", "alexnet_fp32"), ("int8-cpu", "alexnet_int8")):
        offline, _ = predict(OnnxRuntime(built.artefacts / name / "model.onnx"), images, name)
        with AlexNetClient(server.grpc_url, model, timeout=60) as client:
            served, _ = predict(client.infer, images, model)
        assert compare(offline, served).max_abs_dp <= 1e-5
        if name == "fp32":
            assert compare(pytorch, offline).max_abs_dp <= 1e-5
            assert compare(pytorch, served).max_abs_dp <= 1e-5
        else:
            assert compare(pytorch, served).agreement >= 98
            assert compare(pytorch, served).cosine >= 0.99


def test_the_health_service_of_grpc_answers(server: LocalServer) -> None:
    with grpc.insecure_channel(server.grpc_url) as channel:
        check = channel.unary_unary("/grpc.health.v1.Health/Check")
        assert check(b"", timeout=5) == b"\x08\x01"  # HealthCheckResponse { status: SERVING }


def test_metrics_count_images_and_time_them(server: LocalServer, pixels: np.ndarray) -> None:
    def value(pattern: str) -> float:
        with urllib.request.urlopen(server.metrics_url) as answer:
            text = answer.read().decode()
        return sum(float(match) for match in re.findall(rf"^{pattern} (\S+)$", text, re.MULTILINE))

    images = r'alexnet_images_total\{model="alexnet_int8",version="1"\}'
    seconds = r'alexnet_inference_seconds_count\{model="alexnet_int8",version="1"\}'
    first_bucket = r'alexnet_inference_seconds_bucket\{model="alexnet_int8",version="1",le="0.001"\}'
    last_bucket = r'alexnet_inference_seconds_bucket\{model="alexnet_int8",version="1",le="\+Inf"\}'
    started, before = time.monotonic(), (value(images), value(seconds))
    with AlexNetClient(server.grpc_url, "alexnet_int8") as client:
        client.infer(pixels)
    more = value(images) - before[0] - len(pixels)
    assert 0 <= more <= (time.monotonic() - started) / Times().pulse + 1  # the supervisor asks, too
    assert value(seconds) > before[1]
    assert value(first_bucket) == 0  # no run of this network takes less than a millisecond
    assert value(last_bucket) == value(seconds)
    assert value(r'nv_inference_count\{model="alexnet_int8",version="1"\}') >= len(pixels)


def test_a_scrape_shows_the_contracts_metrics_and_no_other(server: LocalServer, pixels: np.ndarray) -> None:
    """Names, kinds, labels and buckets; those of engines are there when an engine serves."""
    with AlexNetClient(server.grpc_url, "alexnet_int8") as client:
        client.infer(pixels)
    with urllib.request.urlopen(server.metrics_url) as answer:
        families = {family.name: family for family in text_string_to_metric_families(answer.read().decode())}
    ours = {name: family for name, family in families.items() if name.startswith("alexnet_")}
    wanted = {metric.name.removesuffix("_total"): metric for metric in contract.METRICS}
    assert set(ours) == {name for name in wanted if not name.startswith("alexnet_engine_")}
    for name, family in ours.items():
        metric = wanted[name]
        assert family.type == metric.kind
        assert {tuple(sorted(set(sample.labels) - {"le"})) for sample in family.samples} == {
            tuple(sorted(metric.labels))
        }
        edges = {float(sample.labels["le"]) for sample in family.samples if "le" in sample.labels}
        assert edges == ({*metric.buckets, float("inf")} if metric.buckets else set())


def test_a_bad_request_is_one_failure(server: LocalServer) -> None:
    """Of the ensemble, which Triton counts twice, in series that depend on the release's number."""

    def failures() -> float:
        with urllib.request.urlopen(server.metrics_url) as answer:
            text = answer.read().decode()
        found = re.findall(r'^nv_inference_request_failure{model="alexnet",.*} (\d+)$', text, re.MULTILINE)
        assert len(found) == 4  # a reason each
        return sum(map(float, found))

    before, bad = failures(), np.array([[b"no image"]], object)
    with triton_grpc.InferenceServerClient(server.grpc_url) as client:
        for _ in range(BAD_REQUESTS):
            with pytest.raises(InferenceServerException, match="images that cannot be used"):
                infer(client, triton_grpc, "alexnet", {"encoded": (bad, "BYTES")})
    wait_until(lambda: failures() >= before + BAD_REQUESTS, "the last to be counted")
    assert failures() == before + BAD_REQUESTS


def test_perf_analyzer_runs_against_it(server: LocalServer) -> None:
    got = measure(server.grpc_url, "alexnet_int8", callers=2, seconds=1.5)
    assert got.images_per_second > 1
    assert 0 < got.p50_ms <= got.p99_ms
    assert measure(server.grpc_url, "alexnet", callers=2, seconds=1.5, file=photograph()).images_per_second > 1


IMAGE = np.zeros((1, 224, 224, 3), np.uint8)


@pytest.mark.parametrize(
    ("model", "tensors", "status"),
    [
        ("alexnet_int8", {"image": (IMAGE.astype(np.float32), "FP32")}, "INVALID_ARGUMENT"),
        ("alexnet_int8", {"image": (IMAGE[:, :100], "UINT8")}, "INVALID_ARGUMENT"),
        ("alexnet_int8", {"image": (IMAGE[:0], "UINT8")}, "INVALID_ARGUMENT"),
        ("alexnet_int8", {"picture": (IMAGE, "UINT8")}, "INVALID_ARGUMENT"),
        ("alexnet_int4", {"image": (IMAGE, "UINT8")}, "NOT_FOUND"),
        ("alexnet", {"encoded": (np.full((10_001, 1), b"x", dtype=object), "BYTES")}, "INVALID_ARGUMENT"),
        ("alexnet_int8", {"image": (np.repeat(IMAGE, 129, axis=0), "UINT8")}, "INVALID_ARGUMENT"),
    ],
    ids=["dtype", "shape", "empty", "input", "model", "10001", "129"],
)
def test_bad_requests_get_a_status_that_fits(server: LocalServer, model: str, tensors, status: str) -> None:
    with (
        triton_grpc.InferenceServerClient(server.grpc_url) as client,
        pytest.raises(InferenceServerException) as caught,
    ):
        infer(client, triton_grpc, model, tensors)
    got = caught.value.status().removeprefix("StatusCode.")
    assert got == status or (
        status == "NOT_FOUND" and got == "UNAVAILABLE" and "unknown model" in caught.value.message()
    )


def test_an_unknown_output_is_refused(server: LocalServer) -> None:
    outputs = [triton_grpc.InferRequestedOutput("softmax")]
    with (
        triton_grpc.InferenceServerClient(server.grpc_url) as client,
        pytest.raises(InferenceServerException, match="softmax") as caught,
    ):
        infer(client, triton_grpc, "alexnet_int8", {"image": (IMAGE, "UINT8")}, outputs=outputs)
    assert caught.value.status() == "StatusCode.INVALID_ARGUMENT"


CLOSED = {
    "load": lambda client: client.load_model("alexnet_int8"),
    "unload": lambda client: client.unload_model("alexnet_int8"),
    "memory": lambda client: client.register_system_shared_memory("mine", "/mine", 64),
    "memory status": lambda client: client.get_system_shared_memory_status(),
    "GPU memory": lambda client: client.get_cuda_shared_memory_status(),
    "log": lambda client: client.update_log_settings({"log_verbose_level": 9}),
    "traces": lambda client: client.update_trace_settings(settings={"trace_rate": "1"}),
}


@pytest.mark.parametrize("call", CLOSED.values(), ids=CLOSED)
def test_what_is_not_for_clients_has_no_way_in(server: LocalServer, call) -> None:
    with (
        triton_grpc.InferenceServerClient(server.grpc_url) as client,
        pytest.raises(InferenceServerException) as caught,
    ):
        call(client)
    assert caught.value.status() == "StatusCode.PERMISSION_DENIED"


@pytest.mark.parametrize("call", CLOSED.values(), ids=CLOSED)
def test_nor_has_it_for_the_servers_own_user(server: LocalServer, call) -> None:
    """Past the door, on Triton's own socket."""
    with (
        triton_grpc.InferenceServerClient(f"unix:{server._room.sockets.grpc}") as client,
        pytest.raises(InferenceServerException, match="restricted|not allowed"),
    ):
        call(client)


@pytest.mark.parametrize(
    "path",
    [
        "/v2/systemsharedmemory/status",
        "/v2/systemsharedmemory/region/x/register",
        "/v2/cudasharedmemory/status",
        "/v2/logging",
        "/v2/trace/setting",
        "/v2/models/alexnet/trace/setting",
        "/v2/models/alexnet/versions/1/trace/setting",
        "/v2/repository/models/alexnet/load",
        "/v2/models/alexnet/generate",
    ],
)
@pytest.mark.parametrize("body", [None, b"{}"], ids=["get", "post"])
def test_nor_has_it_by_http_with_the_key_to_tritons_lock(server: LocalServer, path: str, body: bytes | None) -> None:
    request = urllib.request.Request(f"http://{server.http_url}{path}", body, {"Nobody": "in"})
    with pytest.raises(urllib.error.HTTPError, match="403"):
        urllib.request.urlopen(request, timeout=PATIENCE)


def test_what_clients_may_ask_by_http_they_may(server: LocalServer) -> None:
    for path in ("", "/health/live", "/health/ready", "/models/alexnet", "/models/stats", "/models/alexnet/config"):
        with urllib.request.urlopen(f"http://{server.http_url}/v2{path}", timeout=PATIENCE) as answer:
            assert answer.status == 200, path


def test_another_user_gets_neither_at_the_sockets_nor_at_clients_pixels(server: LocalServer) -> None:
    """As root this is tried as another user; otherwise only the permissions can be looked at."""
    regions = list(processes.SHARED_MEMORY.glob(f"{server._room.prefix}*"))
    assert regions
    for path in (server._folder, server._room.sockets.folder, server.log_file, *regions):
        assert path.stat().st_mode & 0o077 == 0
    if os.geteuid() == 0:
        for tried in (["stat", server._room.sockets.metrics], ["cat", regions[0]]):
            # Not by `user=`, for which Python forks: beside gRPC's threads a fork may die before it is another program.
            other = ["setpriv", "--reuid=65534", "--regid=65534", "--clear-groups", *tried]
            done = subprocess.run(other, capture_output=True, text=True, check=False)
            assert "Permission denied" in done.stderr


def test_the_log_is_where_it_says(server: LocalServer) -> None:
    assert "Started GRPCInferenceService" in Path(server.log_file).read_text()
