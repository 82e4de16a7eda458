"""What a server loads of a release with engines: the plan for its GPU once it is proved, or the graph."""

import json
import re
import subprocess
from pathlib import Path
from types import SimpleNamespace

import pytest

from deploy.serve import selection
from deploy.serve.repository import Checked, check
from deploy.serve.selection import select
from export.artefacts import manifest
from export.engines import plans
from export.engines.gpu import Gpu
from export.engines.provider import Provider
from export.proof import golden
from export.publish import PublishError, publish
from tests.artefacts import make_artefact, make_engine

ADA = Gpu("NVIDIA L4", "sm89", "580.65", 24 << 30)
TURING = Gpu("Tesla T4", "sm75", "580.65", 16 << 30)


@pytest.fixture
def folders(tmp_path: Path) -> list[Path]:
    root = tmp_path / "artefacts"
    return [
        make_artefact(root / "fp32", "fp32", b"full precision"),
        make_artefact(root / "int8-cpu", "int8", b"eight bits"),
        make_engine(root / "int8-tensorrt-sm80", "sm80"),
        make_engine(root / "int8-tensorrt-sm89", "sm89"),
    ]


def released(tmp_path: Path, folders: list[Path]) -> Checked:
    publish(tmp_path / "repository", folders, "int8", "proved at load")
    return check(tmp_path / "repository")


@pytest.fixture
def golden_batch(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """The library is here, and the command that proves says what is in the list, as it would on a GPU."""
    broken: list[str] = []
    library = Provider("tensorrt_rtx", SimpleNamespace(__version__="1.7"))
    monkeypatch.setattr(plans, "find", lambda _: library)
    monkeypatch.setattr(selection, "find", lambda _: library)

    def prove(command: list[str], **_: object) -> object:
        release, proofs = Path(command[5]), golden.Proofs(Path(command[7]))
        record = manifest.read(release / "alexnet_int8" / release.name)
        plan = plans.fitting(record, ADA)
        assert plan is not None
        proofs.keep(plan.sha256, ADA, "1.7", broken)
        return SimpleNamespace(stdout="proved", stderr="", returncode=int(bool(broken)))

    monkeypatch.setattr(subprocess, "run", prove)
    return broken


def test_unproved_engines_want_a_reason_and_it_is_recorded(tmp_path: Path, folders: list[Path]) -> None:
    with pytest.raises(PublishError, match=r"«unproved: no device»: .*accept that with --accept-unproved REASON"):
        publish(tmp_path / "repository", folders, "int8")
    checked = released(tmp_path, folders)
    record = manifest.read(checked.release / "alexnet_int8/1")
    assert (str(record.proof), record.accepted) == ("unproved: no device", "proved at load")
    assert manifest.read(checked.release / "alexnet_fp32/1").accepted == ""


def test_triton_is_told_which_plan_is_for_which_gpu(tmp_path: Path, folders: list[Path]) -> None:
    model = released(tmp_path, folders).release / "alexnet_int8"
    config = (model / "config.pbtxt").read_text()
    for key, name in (("8.0", "sm80"), ("8.9", "sm89")):
        assert f'{{ key: "{key}" value: "{name}.plan" }}' in config
        assert (model / "1" / f"{name}.plan").read_bytes() == f"plan for {name}".encode()
        assert json.loads((model / "1" / f"{name}.json").read_text())["engine"]["capability"] == name
    assert 'default_model_filename: "model.plan"' in config


def test_two_engines_for_one_gpu_are_refused(tmp_path: Path, folders: list[Path]) -> None:
    twice = [*folders, make_engine(tmp_path / "again", "sm89")]
    with pytest.raises(PublishError, match=r"for the same hardware: alexnet_int8 for any, sm80, sm89, sm89"):
        publish(tmp_path / "repository", twice, "int8", "why not")


@pytest.mark.parametrize(("gpu", "has"), [(None, "no GPU"), (TURING, r"Tesla T4 \(sm75\): build one with")])
def test_where_no_engine_fits_the_graph_serves(
    tmp_path: Path, folders: list[Path], monkeypatch: pytest.MonkeyPatch, gpu: Gpu | None, has: str
) -> None:
    monkeypatch.setattr(selection, "installed", lambda: gpu)
    checked = released(tmp_path, folders)
    chosen = select(checked, tmp_path / "view", tmp_path / "proofs")
    assert list(chosen.fallbacks) == ["alexnet_int8"]
    assert re.search(rf"has engines for sm80, sm89, and this machine has {has}", chosen.fallbacks["alexnet_int8"])
    model = tmp_path / "view" / "alexnet_int8"
    assert [path.name for path in (model / "1").iterdir()] == ["model.onnx"]
    assert (model / "1/model.onnx").read_bytes() == b"eight bits"
    assert "cc_model_filenames" not in (model / "config.pbtxt").read_text()
    graph = "alexnet_fp32/1/model.onnx"
    assert (tmp_path / "view" / graph).resolve() == checked.release / graph


def test_without_a_fallback_the_model_is_refused_with_the_remedy(
    tmp_path: Path, folders: list[Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(selection, "installed", lambda: None)
    chosen = select(released(tmp_path, [folders[0], *folders[2:]]), tmp_path / "view", tmp_path / "proofs")
    assert "published with --fallback, its graph would serve" in chosen.refused["alexnet_int8"]
    assert chosen.fallbacks == {}
    assert "alexnet_int8" not in chosen.models
    assert not (tmp_path / "view/alexnet_int8").exists()  # what lies there is served


def test_an_engine_serves_once_the_golden_batch_is_right(
    tmp_path: Path, folders: list[Path], golden_batch: list[str]
) -> None:
    checked = released(tmp_path, folders)
    chosen = select(checked, tmp_path / "view", tmp_path / "proofs", ADA)
    assert (chosen.fallbacks, chosen.refused) == ({}, {})
    served = {str(path.relative_to(tmp_path / "view")) for path in (tmp_path / "view").rglob("*") if path.is_file()}
    published = {str(path.relative_to(checked.release)) for path in checked.release.rglob("*") if path.is_file()}
    assert served == published
    assert golden_batch == []


def test_one_that_answers_wrongly_never_serves(tmp_path: Path, folders: list[Path], golden_batch: list[str]) -> None:
    golden_batch.append("mean embedding cosine is 0.9, want at least 0.99")
    chosen = select(released(tmp_path, folders), tmp_path / "view", tmp_path / "proofs", ADA)
    assert "did not pass the golden batch on NVIDIA L4 (sm89): failed: mean emb" in chosen.fallbacks["alexnet_int8"]
