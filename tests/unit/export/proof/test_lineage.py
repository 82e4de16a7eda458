"""A verdict holds while what it rests on does: the runtime, its options, the preprocessing, and its ancestors."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import onnxruntime
import pytest

from alexnet_client.fingerprint import preprocessing_fingerprint
from alexnet_client.outputs import Identity
from export.artefacts import artefact, manifest
from export.artefacts.manifest import ManifestError
from export.proof import lineage
from export.proof.lineage import check_ancestors, check_proved, find_graph, stale
from export.proof.proof import Proof, Verdict
from export.publish import PublishError, publish
from export.runtimes import onnx
from tests.artefacts import CHECKPOINT, change, make_artefact


def proved(folder: Path, reference: str) -> Path:
    """Mark an artefact as proved here and now."""
    graph = artefact.read(folder).files[artefact.MODEL_FILE]
    proof = Proof(
        Verdict.PASSED,
        (),
        runtime=onnx.identity_of(graph, literal=lineage.is_literal(manifest.read(folder))),
        reference=Identity("onnxruntime", "1", reference),
        preprocessing=preprocessing_fingerprint(),
    )
    change(folder, proof=proof)
    return folder


@pytest.fixture
def family(tmp_path: Path) -> list[Path]:
    """FP32 from a checkpoint, INT8 from FP32; whatever their folders are called."""
    parent = proved(make_artefact(tmp_path / "full", "fp32", b"full precision"), CHECKPOINT)
    sha256 = artefact.read(parent).files[artefact.MODEL_FILE]
    child = make_artefact(tmp_path / "small", "int8", b"eight bits", parent=sha256, scheme="cpu")
    return [parent, proved(child, sha256)]


def test_what_is_proved_here_and_now_is_published(family: list[Path], tmp_path: Path) -> None:
    assert [stale(artefact.read(folder), serves=True) for folder in family] == [[], []]
    assert publish(tmp_path / "repository", family, "int8") == 1


def test_another_version_of_onnx_runtime_makes_every_proof_stale(
    family: list[Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    version = onnxruntime.__version__
    monkeypatch.setattr(onnxruntime, "__version__", "9.9.9")
    for folder in family:
        assert stale(artefact.read(folder)) == [f"onnxruntime's version was {version}, is 9.9.9"]
    with pytest.raises(PublishError, match=r"other conditions \(onnxruntime's version was .*, is 9\.9\.9\): verify"):
        publish(tmp_path / "repository", family, "int8")
    assert not (tmp_path / "repository").exists()


def test_another_session_option_makes_every_proof_stale(family: list[Path], tmp_path: Path) -> None:
    for folder in family:
        record = artefact.read(folder)
        assert record.proof.runtime is not None
        options = {**record.proof.runtime.options, "spinning": "on"}
        change(folder, proof=replace(record.proof, runtime=replace(record.proof.runtime, options=options)))
        assert stale(artefact.read(folder)) == ["onnxruntime's option spinning was on, is off"]
    with pytest.raises(PublishError, match="option spinning was on, is off"):
        publish(tmp_path / "repository", family, "int8")


def test_another_preprocessing_makes_every_proof_stale(
    family: list[Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(lineage, "preprocessing_fingerprint", lambda: "other")
    for folder in family:
        assert stale(artefact.read(folder)) == ["the preprocessing has changed"]
    with pytest.raises(PublishError, match="the preprocessing has changed"):
        publish(tmp_path / "repository", family, "int8")


def test_the_fingerprint_is_of_the_code_that_makes_pixels(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from alexnet_client import preprocess

    before = preprocessing_fingerprint()
    copy = tmp_path / "preprocess.py"
    copy.write_text(Path(preprocess.__file__).read_text() + "\nSIDE = 1\n")
    monkeypatch.setattr(preprocess, "__file__", str(copy))
    preprocessing_fingerprint.cache_clear()
    try:
        assert preprocessing_fingerprint() != before
    finally:
        monkeypatch.undo()
        preprocessing_fingerprint.cache_clear()
    assert preprocessing_fingerprint() == before


def test_a_graph_that_was_judged_literally_is_not_what_serves(tmp_path: Path) -> None:
    folder = proved(make_artefact(tmp_path / "int8", "int8", b"eight bits", scheme="tensorrt"), CHECKPOINT)
    check_proved("it", artefact.read(folder))
    with pytest.raises(ManifestError, match="option graph optimisation was none, is all"):
        check_proved("it", artefact.read(folder), serves=True)


@pytest.mark.parametrize(
    ("proof", "message"),
    [
        (Proof(), r"full, which is not proved, its verdict is «unproved: run `python -m export verify`»"),
        (Proof(Verdict.FAILED, ("max |Δp| is 1",)), "full, which is not proved, its verdict is «failed: max"),
    ],
)
def test_a_child_of_an_unproved_parent_is_not_published(
    family: list[Path], tmp_path: Path, proof: Proof, message: str
) -> None:
    change(family[0], proof=proof)
    with pytest.raises(ManifestError, match=message):
        publish(tmp_path / "repository", family[1:], "int8")


def test_a_parent_that_is_not_there_is_missed_by_its_hash(family: list[Path], tmp_path: Path) -> None:
    sha256 = artefact.read(family[0]).files[artefact.MODEL_FILE]
    assert find_graph(sha256, [tmp_path]) == (family[0], artefact.read(family[0]))
    make_artefact(family[0], "fp32", b"another graph in the same folder")
    with pytest.raises(ManifestError, match=f"rests on a graph with SHA-256 {sha256[:16]}… that is not in"):
        check_ancestors("it", artefact.read(family[1]), [tmp_path])


def test_a_parent_of_another_checkpoint_is_none(family: list[Path], tmp_path: Path) -> None:
    change(family[0], checkpoint="deadbeef", parent="deadbeef")
    with pytest.raises(ManifestError, match="come from different checkpoints"):
        check_ancestors("it", artefact.read(family[1]), [tmp_path])
