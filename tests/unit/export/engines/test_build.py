"""Engine artefacts: built once, whole or not at all, by the real TensorRT-RTX from a tiny network."""

import errno
import os
from pathlib import Path

import pytest

from alexnet_client.files import sha256
from export.artefacts import artefact
from export.artefacts.manifest import ManifestError, Recipe
from export.engines import build as build_engine
from export.engines import builder as engine
from export.engines import provider
from export.engines.build import target
from export.engines.builder import EngineError, Options
from export.engines.gpu import Gpu
from export.engines.provider import Provider
from tests import graphs
from tests.artefacts import change, make_artefact

ADA = Gpu("NVIDIA L4", "sm89", "580.65", 24 << 30)


@pytest.fixture(scope="module")
def rtx() -> Provider:
    return provider.find("tensorrt_rtx")


@pytest.fixture
def graph(tmp_path: Path) -> Path:
    return make_graph(tmp_path / "fp16", seed=0)


def make_graph(folder: Path, seed: int) -> Path:
    return make_artefact(folder, "fp16", lambda path: graphs.tiny(path, half=True, seed=seed))


def test_the_manifest_records_where_the_engine_runs(rtx: Provider, graph: Path, tmp_path: Path) -> None:
    record, built = build_engine.build_engine(graph, tmp_path, rtx, "sm89", Options())
    folder = tmp_path / "fp16-sm89"
    assert built
    assert artefact.read(folder) == record
    assert sorted(record.files) == ["labels.txt", "layers.json", "model.plan"]
    assert record.parent == artefact.read(graph).files["model.onnx"]
    assert str(record.proof) == "unproved: no device"
    facts = record.engine
    assert facts is not None
    assert (facts.provider, facts.version, facts.capability) == (rtx.name, rtx.version, "sm89")
    assert facts.options["profiles"] == ["1:32:128"]
    assert facts.bytes == (folder / "model.plan").stat().st_size
    assert set(facts.precisions) == {"FP16"}
    assert facts.seconds >= 0


def test_it_is_built_again_only_when_something_changed(rtx: Provider, graph: Path, tmp_path: Path) -> None:
    def built(options: Options = Options()) -> bool:  # noqa: B008
        return build_engine.build_engine(graph, tmp_path, rtx, "sm89", options)[1]

    assert [built(), built()] == [True, False]
    assert [built(Options(workspace=64)), built(Options(workspace=64))] == [True, False]
    make_graph(graph, seed=1)
    assert [built(Options(workspace=64)), built(Options(workspace=64))] == [True, False]
    plan = tmp_path / "fp16-sm89" / "model.plan"
    plan.write_bytes(plan.read_bytes()[:-1] + b"?")
    assert [built(Options(workspace=64)), built(Options(workspace=64))] == [True, False]


def test_a_corrupt_plan_is_named(rtx: Provider, graph: Path, tmp_path: Path) -> None:
    build_engine.build_engine(graph, tmp_path, rtx, "sm89", Options())
    (tmp_path / "fp16-sm89" / "model.plan").write_bytes(b"not a plan")
    with pytest.raises(ManifestError, match=r"model\.plan was changed after it was proved"):
        artefact.read(tmp_path / "fp16-sm89")


@pytest.mark.parametrize("failure", [OSError(errno.ENOSPC, os.strerror(errno.ENOSPC)), KeyboardInterrupt()])
def test_a_build_that_fails_leaves_nothing_to_use(
    rtx: Provider, graph: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, failure: BaseException
) -> None:
    def fail(*_: object) -> None:
        raise failure

    monkeypatch.setattr(build_engine, "build", fail)
    with pytest.raises(type(failure)):
        build_engine.build_engine(graph, tmp_path, rtx, "sm89", Options())
    assert not (tmp_path / "fp16-sm89").exists()


def test_a_changed_graph_is_refused(rtx: Provider, graph: Path, tmp_path: Path) -> None:
    graphs.edited(graph / "model.onnx", graphs.static_batch)
    with pytest.raises(ManifestError, match="was changed after it was proved"):
        build_engine.build_engine(graph, tmp_path, rtx, "sm89", Options())


def test_int8_cannot_be_stripped(rtx: Provider, graph: Path, tmp_path: Path) -> None:
    change(graph, recipe=Recipe("int8", scheme="tensorrt"))
    with pytest.raises(EngineError, match="its scales are part of the plan: strip fp32 or fp16"):
        build_engine.build_engine(graph, tmp_path, rtx, "sm89", Options(stripped=True))


def test_a_stripped_plan_outlives_its_checkpoint(
    rtx: Provider, graph: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """This library strips on a GPU only: the builder's answer is a stand-in, what is kept of it is not."""
    calls = []

    def build(*_: object) -> engine.Engine:
        calls.append(1)
        return engine.Engine(b"a plan without weights", [])

    monkeypatch.setattr(build_engine, "build", build)
    options = Options(stripped=True)
    first, _ = build_engine.build_engine(graph, tmp_path, rtx, "sm89", options)
    make_graph(graph, seed=1)
    second, built = build_engine.build_engine(graph, tmp_path, rtx, "sm89", options)
    assert (len(calls), built) == (1, False)
    assert first.files["model.plan"] == second.files["model.plan"]
    assert first.files["weights.onnx"] != second.files["weights.onnx"] == sha256(graph / "model.onnx")
    assert second.parent == artefact.read(graph).files["model.onnx"]


def test_what_to_build_for(rtx: Provider) -> None:
    present_only = Provider("tensorrt", type("tensorrt", (), {"__version__": "10.13.3.9"}))
    assert target(rtx, "sm120", None) == "sm120"
    assert target(rtx, None, ADA) == "sm89"
    assert target(present_only, None, ADA) == "sm89"
    for library, wanted, gpu, reason in (
        (rtx, None, None, "there is no GPU here: name what to build for, as --gpu sm89"),
        (present_only, "sm89", None, "there is none here: use tensorrt_rtx"),
        (present_only, "sm120", ADA, r"builds for the present GPU, NVIDIA L4 \(sm89\), not for sm120"),
    ):
        with pytest.raises(EngineError, match=reason):
            target(library, wanted, gpu)
