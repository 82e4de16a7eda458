"""Where TensorRT 10.12 and 11 differ from TensorRT-RTX: the present GPU only, a timing cache, the inspector."""

from pathlib import Path

import pytest

from export.engines import builder as engine
from export.engines.builder import Options, Profile
from tests import graphs
from tests.fake_tensorrt import ANSWERS, Library


@pytest.fixture
def graph(tmp_path: Path) -> Path:
    return graphs.tiny(tmp_path / "model.onnx", half=True)


@pytest.mark.parametrize("version", ANSWERS)
def test_either_version_builds_by_the_same_path(graph: Path, version: str) -> None:
    library = Library(version)
    options = Options(
        profiles=(Profile(1, 1, 1), Profile(2, 32, 128)),
        workspace=64,
        stripped=True,
        version_compatible=True,
        hardware_compatible=True,
    )
    built = engine.build(library.provider, graph, "sm89", options)
    (config,) = library.configs
    assert built.plan == b"a plan"
    assert library.created_with == [1 << 1]
    assert [profile.shapes for profile in config.profiles] == [{"image": [1, 1, 1]}, {"image": [2, 32, 128]}]
    assert sorted(config.flags) == ["refit", "strip", "vc"]
    assert config.cleared == ["tf32"]
    assert config.pool == ("workspace", 64 << 20)
    assert config.hardware_compatibility_level == "ampere+"
    (layer,) = built.layers
    assert (layer.name, layer.precision, layer.tactic, layer.nodes) == ("dense1", "FP16", "sm89_hmma", ("dense1",))


def test_what_was_measured_is_kept_for_the_next_build(graph: Path, tmp_path: Path) -> None:
    library, cache = Library("10.12.0.36", steps=1), tmp_path / "timing.cache"
    for _ in range(2):
        engine.build(library.provider, graph, "sm89", Options(), cache)
    assert cache.read_bytes() == b"+measured+measured"


def test_a_timing_cache_of_another_gpu_is_begun_anew(graph: Path, tmp_path: Path) -> None:
    cache = tmp_path / "timing.cache"
    cache.write_bytes(b"foreign")
    engine.build(Library("11.0.0.114", steps=1).provider, graph, "sm89", Options(), cache)
    assert cache.read_bytes() == b"+measured"


def test_the_timing_cache_survives_an_interruption(graph: Path, tmp_path: Path) -> None:
    library, cache = Library("10.12.0.36", steps=5, interrupt=True), tmp_path / "timing.cache"
    with pytest.raises(KeyboardInterrupt):
        engine.build(library.provider, graph, "sm89", Options(), cache)
    assert cache.read_bytes() == b"+measured"
