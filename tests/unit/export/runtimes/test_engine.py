"""An engine at work, on a GPU that is not there: what is asked of CUDA and TensorRT, and that all is given back."""

from pathlib import Path

import numpy as np
import pytest

from export.runtimes.engine import EngineRuntime
from export.runtimes.onnx import OnnxRuntime
from export.runtimes.runtime import RuntimeFailure
from tests import graphs
from tests.fake_gpu import Cuda, library

PROFILES = [(1, 1, 4), (5, 8, 8)]


@pytest.fixture(scope="module")
def graph(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return graphs.tiny(tmp_path_factory.mktemp("graph") / "model.onnx")


@pytest.fixture
def plan(tmp_path: Path) -> Path:
    path = tmp_path / "model.plan"
    path.write_bytes(b"a plan")
    return path


def pixels(count: int) -> np.ndarray:
    return np.random.default_rng(count).integers(0, 256, (count, 224, 224, 3), np.uint8)


@pytest.mark.parametrize("count", [1, 3, 4, 5, 8, 19])
def test_it_answers_as_the_network_does_in_any_number(graph: Path, plan: Path, count: int) -> None:
    cuda = Cuda()
    wanted = OnnxRuntime(graph)(pixels(count))
    with EngineRuntime(library(cuda, graph, PROFILES), plan, hot=(1, 8), cuda=cuda) as runner:
        got = runner(pixels(count))
    np.testing.assert_allclose(got.probabilities, wanted.probabilities, atol=1e-6)
    np.testing.assert_allclose(got.embedding, wanted.embedding, atol=1e-5)


def test_hot_batches_are_one_launch_and_others_are_not(graph: Path, plan: Path) -> None:
    cuda = Cuda()
    with EngineRuntime(library(cuda, graph, PROFILES), plan, hot=(1, 8), cuda=cuda) as runner:
        assert runner.recorded == (1, 8)
        assert (runner.largest, runner.device_memory) == (8, 12345)
        for count, launches in ((1, 1), (8, 2), (3, 2), (1, 3)):
            runner.run(pixels(count))
            assert cuda.launches == launches
        assert list(runner.run(pixels(2), ["embedding"])) == ["embedding"]


def test_all_is_given_back(graph: Path, plan: Path) -> None:
    cuda = Cuda()
    runner = EngineRuntime(library(cuda, graph, PROFILES), plan, hot=(1,), cuda=cuda)
    assert cuda.memory
    runner.close()
    runner.close()
    assert (cuda.memory, cuda.streams, cuda.executables) == ({}, 0, 0)


@pytest.mark.parametrize(("which", "call"), [("device memory", "cudaMalloc"), ("host memory", "cudaMallocHost")])
def test_memory_that_runs_out_is_named_and_nothing_is_kept(graph: Path, plan: Path, which: str, call: str) -> None:
    cuda = Cuda(out_of=which)
    with pytest.raises(RuntimeFailure, match=f"{call} failed: out of memory"):
        EngineRuntime(library(cuda, graph, PROFILES), plan, cuda=cuda)
    assert (cuda.memory, cuda.streams) == ({}, 0)


@pytest.mark.parametrize(
    ("cuda", "reason"),
    [
        (Cuda(devices=0, error=100), r"needs a CUDA device and there is none \(no device\): serve the ONNX artefact"),
        (Cuda(devices=0, error=35), r"there is none \(CUDA driver version is insufficient\)"),
    ],
)
def test_no_device_and_an_old_driver(graph: Path, plan: Path, cuda: Cuda, reason: str) -> None:
    with pytest.raises(RuntimeFailure, match=reason):
        EngineRuntime(library(cuda, graph, PROFILES), plan, cuda=cuda)


def test_a_plan_that_does_not_load_and_one_that_is_missing(graph: Path, plan: Path) -> None:
    cuda = Cuda()
    with pytest.raises(
        RuntimeFailure, match=r"is not a plan for this GPU and tensorrt 10\.13\.3\.9: build it here with"
    ):
        EngineRuntime(library(cuda, graph, PROFILES, loads=False), plan, cuda=cuda)
    with pytest.raises(RuntimeFailure, match="build it with `python -m export engine`"):
        EngineRuntime(library(cuda, graph, PROFILES), plan.with_name("none.plan"), cuda=cuda)


def test_a_batch_that_no_profile_takes(graph: Path, plan: Path) -> None:
    cuda = Cuda()
    with (
        EngineRuntime(library(cuda, graph, PROFILES), plan, cuda=cuda) as runner,
        pytest.raises(RuntimeFailure, match="got 9 images: this engine takes 1 to 4, 5 to 8 at once"),
    ):
        runner.run(pixels(9))


def test_the_real_runtime_without_a_device(plan: Path, graph: Path) -> None:
    from export.engines.gpu import installed

    if installed() is None:
        with pytest.raises(RuntimeFailure, match="an engine needs a CUDA device and there is none"):
            EngineRuntime(library(Cuda(), graph, PROFILES), plan)
