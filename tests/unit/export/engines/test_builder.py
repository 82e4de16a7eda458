"""Engines from a tiny network, by the real TensorRT-RTX, which needs no GPU."""

import signal
from pathlib import Path

import numpy as np
import pytest

from export.engines import builder as engine
from export.engines import provider
from export.engines.builder import EngineError, Options, Profile
from export.engines.provider import Provider
from tests import graphs


@pytest.fixture(scope="module")
def rtx() -> Provider:
    return provider.find("tensorrt_rtx")


@pytest.mark.parametrize("capability", ["sm75", "sm80", "sm86", "sm89", "sm120"])
def test_an_engine_for_a_gpu_that_is_not_here(rtx: Provider, tmp_path: Path, capability: str) -> None:
    built = engine.build(rtx, graphs.tiny(tmp_path / "model.onnx", half=True), capability, Options())
    assert len(built.plan) > 3 * 4096 * 2
    multiply = [layer for layer in built.layers if layer.multiplies]
    assert multiply
    assert {layer.precision for layer in multiply} == {"FP16"}


@pytest.mark.parametrize(
    "options",
    [
        Options(profiles=(Profile(1, 1, 1), Profile(2, 32, 128))),
        Options(workspace=64),
        Options(hardware_compatible=True),
    ],
    ids=["profiles", "workspace", "hardware"],
)
def test_every_option_builds(rtx: Provider, tmp_path: Path, options: Options) -> None:
    assert engine.build(rtx, graphs.tiny(tmp_path / "model.onnx", half=True), "sm89", options).plan


@pytest.mark.parametrize(
    "options", [Options(stripped=True), Options(version_compatible=True)], ids=["strip", "version"]
)
def test_what_this_library_builds_on_its_gpu_only_is_refused_with_the_remedy(
    rtx: Provider, tmp_path: Path, options: Options
) -> None:
    with pytest.raises(
        EngineError, match=r"builds no engine for sm89 .*: build it with tensorrt on its GPU, or without"
    ):
        engine.build(rtx, graphs.tiny(tmp_path / "model.onnx", half=True), "sm89", options)


def test_what_cannot_be_built_is_said_in_one_line(rtx: Provider, tmp_path: Path) -> None:
    graph = graphs.tiny(tmp_path / "model.onnx")
    with pytest.raises(
        EngineError, match=r"tensorrt_rtx .* builds for .*sm120.*, not for sm50: build it with tensorrt"
    ):
        engine.build(rtx, graph, "sm50", Options())
    graphs.edited(graph, graphs.unsupported)
    with pytest.raises(EngineError, match=r"cannot parse .*: node determinant \(Det\): .*: export it with") as caught:
        engine.build(rtx, graph, "sm89", Options())
    assert "\n" not in str(caught.value)


def test_a_signal_stops_the_build_between_two_steps(
    rtx: Provider, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monitor = engine._monitor

    def interrupting(*arguments: object) -> object:
        made = monitor(*arguments)
        signal.raise_signal(signal.SIGTERM)
        return made

    monkeypatch.setattr(engine, "_monitor", interrupting)
    before = signal.getsignal(signal.SIGTERM)
    with pytest.raises(KeyboardInterrupt):
        engine.build(rtx, graphs.tiny(tmp_path / "model.onnx", half=True), "sm89", Options())
    assert signal.getsignal(signal.SIGTERM) is before


@pytest.mark.parametrize("text", ["", "1:32", "0:1:2", "2:1:3", "1:3:2", "a:b:c", "1:2:3:4"])
def test_a_profile_that_is_none(text: str) -> None:
    with pytest.raises(EngineError, match=r"got profile .*want"):
        Profile.parse(text)


def test_a_profile_reads_as_it_is_written() -> None:
    assert str(Profile.parse("1:32:128")) == "1:32:128"


def test_int8_layers_are_int8_on_what_has_them(rtx: Provider, tmp_path: Path) -> None:
    graph = graphs.edited(
        graphs.tiny(tmp_path / "model.onnx"), lambda graph: graphs.quantised(graph, np.array(0, np.int8))
    )
    assert engine.build(rtx, graph, "sm89", Options()).layers


def test_no_profile_and_no_workspace_are_refused() -> None:
    with pytest.raises(EngineError, match="got no profile"):
        Options(profiles=())
    with pytest.raises(EngineError, match="workspace of 0 MiB"):
        Options(workspace=0)
