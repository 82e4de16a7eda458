"""Engines by their commands, built by the real TensorRT-RTX for GPUs that are not here, published, and served."""

from __future__ import annotations

import re
import shlex
import shutil
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import numpy as np
import onnx
import pytest
from google.protobuf import text_format
from tritonclient.grpc import InferenceServerClient
from tritonclient.grpc.model_config_pb2 import ModelConfig
from tritonclient.utils import InferenceServerException

from alexnet_client import AlexNetClient
from alexnet_client.contract import CHECKSUM, EMBEDDING, IMAGE, MAX_BATCH, PROBABILITIES
from deploy.pipeline.stages import CAPABILITIES
from deploy.serve.installation import find
from deploy.serve.ports import free_ports
from deploy.serve.server import LocalServer
from export.artefacts import artefact, manifest
from export.proof.proof import WITHOUT_DEVICE
from tests import graphs
from tests.artefacts import make_artefact
from tests.conftest import ROOT, Built, command, python
from tests.engines import ROW, refused
from tests.waiting import PATIENCE, wait_until


@pytest.fixture(scope="module")
def root(engines: Path) -> Path:
    return engines


@pytest.fixture(scope="module")
def artefacts(root: Path) -> Path:
    return root / "build" / "artefacts"


@pytest.fixture(scope="module")
def published(root: Path) -> Path:
    """A repository with all engines, and the graphs to fall back on."""
    command("export", "publish", "--target", "gpu", "--fallback", "--accept-unproved", "no GPU in this test", cwd=root)
    return root / "build" / "repository"


def test_one_command_builds_for_five_gpus_that_are_not_here(root: Path, artefacts: Path) -> None:
    output = (root / "engines.txt").read_text()
    rows = {(graph, capability): facts for graph, capability, *facts in ROW.findall(output)}
    assert set(rows) == {(graph, capability) for graph in ("fp16", "int8-tensorrt") for capability in CAPABILITIES}
    fp32 = (artefacts / "fp32/model.onnx").stat().st_size
    for (graph, capability), (megabytes, seconds, precisions, verdict) in rows.items():
        plan = artefacts / f"{graph}-{capability}" / "model.plan"
        assert float(megabytes) == pytest.approx(plan.stat().st_size / 1e6, abs=0.06)
        assert float(seconds) > 0
        assert verdict == str(WITHOUT_DEVICE)
        # Turing's tensor cores multiply INT8 matrices; RTX has no INT8 convolution for them, and says so.
        if graph == "int8-tensorrt" and capability == "sm75":
            assert precisions == "5 FP16, 3 INT8"
            assert output.count("  not INT8: ") == 5
        else:
            assert precisions == ("8 FP16" if graph == "fp16" else "8 INT8")
        assert plan.stat().st_size / fp32 == pytest.approx(0.5 if graph == "fp16" else 0.25, abs=0.02)
        record = artefact.read(plan.parent)
        assert record.parent == artefact.read(artefacts / graph).files["model.onnx"]
        assert record.engine.options["profiles"] == ["1:32:128"]


def test_a_second_run_has_nothing_to_do(root: Path, built: Built) -> None:
    before = {path: path.stat().st_mtime_ns for path in (root / "build/artefacts").rglob("*")}
    python("deploy.demo.engines", "--recipe", "smoke", "--data", built.data, cwd=root)
    assert {path: path.stat().st_mtime_ns for path in (root / "build/artefacts").rglob("*")} == before


def test_layers_can_be_looked_at(artefacts: Path) -> None:
    lines = command("export", "inspect", "int8-tensorrt-sm89", "--output", artefacts).stdout.splitlines()
    multiply = [line.split()[1] for line in lines if re.search(" node_(conv2d|linear)", line)]
    assert multiply == ["INT8"] * 8
    assert "is no engine" in command("export", "inspect", "fp32", "--output", artefacts, status=1).stderr


def test_nothing_unproved_is_published_unasked(root: Path) -> None:
    done = command("export", "publish", "--target", "gpu", cwd=root, status=1)
    assert "--accept-unproved" in done.stderr
    assert len(done.stderr.splitlines()) == 1


def test_a_repository_of_engines_is_the_contract(published: Path) -> None:
    """By Triton's own schema."""
    for model, precision in (("alexnet_fp16", "fp16"), ("alexnet_int8", "int8")):
        config = text_format.Parse((published / model / "config.pbtxt").read_text(), ModelConfig())
        assert config.max_batch_size == MAX_BATCH
        (image,) = config.input
        assert (image.name, list(image.dims)) == (IMAGE.name, list(IMAGE.shape))
        assert [(output.name, list(output.dims)) for output in config.output] == [
            (PROBABILITIES.name, [10]),
            (EMBEDDING.name, [4096]),
            (CHECKSUM.name, [4, 4, 3]),
        ]
        wanted = {f"{name[2:-1]}.{name[-1]}": f"{name}.plan" for name in CAPABILITIES}
        assert dict(config.cc_model_filenames) == wanted
        (folder,) = (published / model).glob("[0-9]*")
        assert {path.name for path in folder.glob("*.plan")} == set(wanted.values())
        record = manifest.read(folder)
        assert (str(record.proof), record.accepted) == (str(WITHOUT_DEVICE), "no GPU in this test")
        assert record.precision == precision


def test_without_a_gpu_the_graph_serves(published: Path, server: LocalServer, built: Built, tmp_path: Path) -> None:
    """The same answers as from the repository that never had an engine."""
    pixels = np.random.default_rng(0).integers(0, 256, (3, *IMAGE.shape), np.uint8)
    with LocalServer(published, use_free_ports=True, work=tmp_path) as fallback:
        assert not fallback.refused
        assert "no GPU" in fallback.fallbacks["alexnet_int8"]
        answers = []
        for each in (server, fallback):
            with AlexNetClient(each.grpc_url, "alexnet_int8") as client:
                answers.append(client.infer(pixels))
    for one, other in zip(*answers, strict=True):
        np.testing.assert_array_equal(one, other)


def test_without_a_fallback_the_local_server_says_what_is_missing(artefacts: Path, root: Path, tmp_path: Path) -> None:
    where = ["--output", artefacts, "--repository", tmp_path / "repository", "--precision", "fp32"]
    command("export", "publish", "fp32", "fp16-sm89", "fp16-sm80", "--accept-unproved", "a test", *where)
    with LocalServer(tmp_path / "repository", use_free_ports=True, work=tmp_path) as running:
        reason = running.refused["alexnet_fp16"]
        assert "alexnet_fp32" in running.models
    assert "no GPU" in reason
    assert "sm80, sm89" in reason
    assert "--fallback" in reason


@contextmanager
def tritonserver(repository: Path, work: Path) -> Iterator[InferenceServerClient]:
    """The binary on a folder, in explicit mode, with none of the local server's choices."""
    installation, ports = find(work / "backends"), free_ports()
    command = [str(installation.binary), f"--model-repository={repository.resolve()}"]
    command += [f"--backend-directory={installation.backends}", "--model-control-mode=explicit"]
    for name, port in (("grpc", ports.grpc), ("http", ports.http), ("metrics", ports.metrics)):
        command += [f"--{name}-address=127.0.0.1", f"--{name}-port={port}"]
    with (work / "log").open("wb") as log:
        process = subprocess.Popen(command, stdout=log, stderr=log, env=installation.environment, cwd=ROOT)
    try:
        with InferenceServerClient(f"127.0.0.1:{ports.grpc}") as client:
            wait_until(lambda: live(client), "the server does not answer")
            yield client
    finally:
        process.terminate()
        process.wait(60)


def live(client: InferenceServerClient) -> bool:
    try:
        return bool(client.is_server_live())
    except InferenceServerException:
        return False


def test_triton_itself_misses_the_device_and_nothing_else(published: Path, tmp_path: Path) -> None:
    """The release as a registry would hold it: Triton's parser takes it, our backend looks for its GPU."""
    with tritonserver(published, tmp_path) as client:
        for model in ("alexnet_fp16", "alexnet_int8"):
            with pytest.raises(InferenceServerException) as caught:
                client.load_model(model)
            reason = str(caught.value)
            assert "this machine has no GPU" in reason
            assert "sm75, sm80, sm86, sm89, sm120" in reason
            assert not re.search("config|not found|autofill|unexpected", reason), reason


@pytest.fixture
def small(tmp_path: Path) -> Callable[..., Path]:
    """An artefact of a tiny graph in a folder of its own, changed by a function."""

    def write(change: Callable[[onnx.GraphProto], None] | None = None) -> Path:
        def model(path: Path) -> None:
            graphs.tiny(path)
            if change:
                graphs.edited(path, change)

        make_artefact(tmp_path / "tiny", "fp32", model)
        return tmp_path

    return write


@pytest.mark.parametrize(
    ("change", "reason", "remedy"),
    [
        (graphs.weakly_typed, "weakly typed", "python -m export"),
        (graphs.asymmetric, "quantised asymmetrically", "--scheme tensorrt"),
        (graphs.unsupported, "node determinant (Det)", "python -m export"),
        (graphs.static_batch, "static batch of 1", "python -m export"),
        (graphs.other_names, "want image, probabilities, embedding", "python -m export"),
    ],
)
def test_a_graph_that_no_engine_can_be_built_from(small, change, reason: str, remedy: str) -> None:  # type: ignore[no-untyped-def]
    output = small(change)
    refused(output, "engine", "tiny", "--gpu", "sm89", reason=reason, remedy=remedy)
    assert [path.name for path in output.iterdir()] == ["tiny"]


def test_what_is_missing_or_unknown_is_named(small, tmp_path: Path) -> None:  # type: ignore[no-untyped-def]
    output = small()
    refused(output, "engine", "fp64", "--gpu", "sm89", reason="fp64", remedy="python -m export")
    refused(output, "engine", "tiny", reason="no GPU here", remedy="--gpu sm89")
    refused(output, "engine", "tiny", "--gpu", "sm35", reason="not for sm35", remedy="build it with tensorrt")
    refused(output, "engine", "tiny", "--gpu", "ada", reason="'ada'", remedy="sm89")
    refused(output, "engine", "tiny", "--gpu", "sm89", "--profile", "8:4:2", reason="8:4:2", remedy="MIN <= OPT")
    refused(output, "engine", "tiny", "--provider", "tensorrt", reason="tensorrt", remedy="pip install")


def test_a_corrupt_plan_is_neither_published_nor_proved(artefacts: Path, tmp_path: Path) -> None:
    folder = tmp_path / "fp16-sm89"
    shutil.copytree(artefacts / "fp16-sm89", folder)
    plan = bytearray((folder / "model.plan").read_bytes())
    plan[len(plan) // 2] ^= 1
    (folder / "model.plan").write_bytes(plan)
    where = ["--repository", str(tmp_path / "repository"), "--precision", "fp16"]
    refused(
        tmp_path, "publish", "fp16-sm89", "--accept-unproved", "a test", *where, reason="model.plan", remedy="again"
    )
    assert not (tmp_path / "repository").exists()


def test_a_disk_that_is_full_leaves_nothing(artefacts: Path, tmp_path: Path) -> None:
    shutil.copytree(artefacts / "fp16", tmp_path / "fp16")
    command = [sys.executable, "-m", "export", "engine", "fp16", "--gpu", "sm89", "--output", str(tmp_path)]
    done = subprocess.run(
        ["bash", "-c", f"ulimit -f 50000; {shlex.join(command)}"],  # KiB, the plan wants 115,000
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 1
    assert "free some or write elsewhere" in done.stderr
    assert "fp16-sm89" in done.stderr
    assert not (tmp_path / "fp16-sm89").exists()


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_an_interrupted_build_leaves_nothing(artefacts: Path, tmp_path: Path, number: signal.Signals) -> None:
    shutil.copytree(artefacts / "fp16", tmp_path / "fp16")
    command = [sys.executable, "-m", "export", "engine", "fp16", "--gpu", "sm89", "--output", str(tmp_path)]
    process = subprocess.Popen(command, cwd=ROOT, stdout=subprocess.PIPE, stderr=subprocess.PIPE)
    assert process.stderr is not None
    seen = b""
    while b"sm89 fp16" not in seen:  # the bar: the builder is at work
        byte = process.stderr.read(1)
        assert byte, seen
        seen += byte
    process.send_signal(number)
    rest = process.communicate(timeout=PATIENCE)[1].decode()
    assert process.returncode == 130
    assert "interrupted, nothing half-written is left" in rest
    assert not (tmp_path / "fp16-sm89").exists()
