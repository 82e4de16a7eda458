"""Publishing: complete, proved only, and atomic whatever happens on the way."""

import errno
import os
import shutil
from pathlib import Path

import pytest

from alexnet_client.errors import FileError
from export import publish
from export.artefacts import artefact, manifest
from export.proof.proof import Proof, Verdict
from export.publish import PublishError
from export.release import SOURCE
from tests.artefacts import LABELS, change, make_artefact, make_pair


@pytest.fixture
def folders(tmp_path: Path) -> list[Path]:
    return make_pair(tmp_path / "artefacts")


def test_a_release_is_complete(tmp_path: Path, folders: list[Path]) -> None:
    repository = tmp_path / "repository"
    assert publish.publish(repository, folders, "int8") == 1
    assert repository.is_symlink()
    assert sorted(path.name for path in repository.iterdir()) == [
        "alexnet",
        "alexnet_decode",
        "alexnet_fp32",
        "alexnet_int8",
    ]
    assert (repository / "alexnet_int8/1/model.onnx").read_bytes() == b"eight bits"
    assert (repository / "alexnet_fp32/labels.txt").read_text().split() == LABELS
    assert "dims: [ 3 ]" in (repository / "alexnet_fp32/config.pbtxt").read_text()
    assert '"alexnet_int8"' in (repository / "alexnet/config.pbtxt").read_text()
    for model in repository.iterdir():
        record = manifest.read(model / "1")
        record.check(model)
        assert record.model == model.name
        assert "config.pbtxt" in record.files


def test_the_same_again_changes_nothing_and_something_new_is_a_new_version(tmp_path: Path, folders: list[Path]) -> None:
    repository = tmp_path / "repository"
    assert [publish.publish(repository, folders, "int8") for _ in range(2)] == [1, 1]
    for number in (2, 3, 4):
        make_artefact(folders[1], "int8", b"eight bits, number %d" % number)
        assert publish.publish(repository, folders, "int8") == number
    assert sorted(path.name for path in (tmp_path / "repository.releases").glob("[0-9]*")) == ["1", "2", "3", "4"]
    assert (repository / "alexnet_int8/4/model.onnx").read_bytes() == b"eight bits, number 4"


def test_what_is_not_proved_is_refused(tmp_path: Path, folders: list[Path]) -> None:
    change(folders[1], proof=Proof(Verdict.FAILED, ("top-1 is 2 points lower",)))
    with pytest.raises(PublishError, match=r"int8-cpu may not be published.*2 points lower"):
        publish.publish(tmp_path / "repository", folders, "int8")
    assert not (tmp_path / "repository").exists()


def releases(repository: Path) -> list[str]:
    return sorted(path.name for path in repository.with_name("repository.releases").iterdir() if path.name.isdigit())


def test_what_served_until_now_stays_also_after_a_rollback(tmp_path: Path, folders: list[Path]) -> None:
    repository = tmp_path / "repository"
    for number, content in enumerate((b"first", b"second", b"third"), 1):
        make_artefact(folders[1], "int8", content)
        assert publish.publish(repository, folders, "int8", keep=2) == number
        assert releases(repository) == [str(kept) for kept in (number - 1, number) if kept]
    publish.switch(repository, tmp_path / "repository.releases" / "2")
    make_artefact(folders[1], "int8", b"fourth")
    assert publish.publish(repository, folders, "int8", keep=2) == 4
    assert releases(repository) == ["2", "4"]


def test_the_newest_stay_and_the_live_one(tmp_path: Path, folders: list[Path]) -> None:
    repository = tmp_path / "repository"
    publish.publish(repository, folders, "int8")
    for number in range(2, 9):
        make_artefact(folders[1], "int8", b"number %d" % number)
        assert publish.publish(repository, folders, "int8", live=False) == number
    assert releases(repository) == ["1", "5", "6", "7", "8"]
    with pytest.raises(PublishError, match="got 1 releases to keep: want 2 or more"):
        publish.publish(repository, folders, "int8", keep=1)


def test_a_release_waits_to_be_tried_and_goes_live_by_the_same_again(tmp_path: Path, folders: list[Path]) -> None:
    repository = tmp_path / "repository"
    publish.publish(repository, folders, "int8")
    make_artefact(folders[1], "int8", b"other bits")
    for live, leads_to in ((False, "1"), (False, "1"), (True, "2"), (True, "2"), (False, "2")):
        assert publish.publish(repository, folders, "int8", live=live) == 2
        assert repository.readlink().name == leads_to
    assert releases(repository) == ["1", "2"]


def test_what_was_changed_after_its_proof_is_refused(tmp_path: Path, folders: list[Path]) -> None:
    (folders[1] / "model.onnx").write_bytes(b"eight bitz")
    with pytest.raises(manifest.ManifestError, match=r"model\.onnx was changed after it was proved"):
        publish.publish(tmp_path / "repository", folders, "int8")


def test_what_changes_between_the_check_and_the_copy_is_not_published(
    tmp_path: Path, folders: list[Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    copyfile = shutil.copyfile

    def late(source: Path, target: Path) -> None:
        if source == folders[1] / "model.onnx":
            source.write_bytes(b"other bits")
        copyfile(source, target)

    monkeypatch.setattr(shutil, "copyfile", late)
    with pytest.raises(manifest.ManifestError, match=r"int8-cpu/model\.onnx was changed after it was proved"):
        publish.publish(tmp_path / "repository", folders, "int8")
    assert not (tmp_path / "repository").exists()


def test_steps_without_weights_have_proofs_of_their_own(tmp_path: Path, folders: list[Path]) -> None:
    publish.publish(tmp_path / "repository", folders, "int8")
    decoder, ensemble = (manifest.read(tmp_path / "repository" / name / "1") for name in ("alexnet_decode", "alexnet"))
    assert decoder.proof.checks == ("its inputs and outputs are the contract's", "model.py is Python")
    assert ensemble.needs == ("alexnet_decode", "alexnet_int8")
    assert "it asks alexnet_decode and then alexnet_int8" in ensemble.proof.checks
    assert "it has a label for each class" in ensemble.proof.checks


@pytest.mark.parametrize(
    ("file", "old", "new", "message"),
    [
        ("alexnet_decode/config.pbtxt", "TYPE_UINT8", "TYPE_FP32", "want those of the contract"),
        ("alexnet_decode/config.pbtxt", "224, 224, 3", "227, 227, 3", "has shape"),
        ("alexnet/config.pbtxt", '"alexnet_decode"', '"alexnet_encode"', "asks alexnet_encode, alexnet_int8: want"),
        ("alexnet/config.pbtxt", "max_batch_size", "maximum", "is no model configuration"),
        ("alexnet_decode/1/model.py", "import os", "import", "is no Python"),
    ],
)
def test_a_step_that_does_not_fit_is_not_published(
    tmp_path: Path, folders: list[Path], file: str, old: str, new: str, message: str
) -> None:
    source = tmp_path / "source"
    shutil.copytree(SOURCE, source, ignore=shutil.ignore_patterns("__pycache__"))
    text = (source / file).read_text()
    assert old in text
    (source / file).write_text(text.replace(old, new, 1))
    with pytest.raises(manifest.ManifestError, match=message):
        publish.publish(tmp_path / "repository", folders, "int8", source=source)
    assert not (tmp_path / "repository").exists()


def test_what_does_not_belong_together_is_refused(tmp_path: Path, folders: list[Path]) -> None:
    repository = tmp_path / "repository"
    with pytest.raises(PublishError, match="no fp16 artefact to answer behind alexnet: got alexnet_fp32, alexnet_int8"):
        publish.publish(repository, folders, "fp16")
    with pytest.raises(PublishError, match="two artefacts of one precision"):
        publish.publish(repository, [*folders, folders[0]], "int8")
    make_artefact(folders[1], "int8", b"eight bits", checkpoint="deadbeef")
    with pytest.raises(PublishError, match="different checkpoints"):
        publish.publish(repository, folders, "int8")


def test_a_real_folder_in_the_links_place_is_left_alone(tmp_path: Path, folders: list[Path]) -> None:
    repository = tmp_path / "repository"
    (repository / "precious").mkdir(parents=True)
    with pytest.raises(PublishError, match="move it away"):
        publish.publish(repository, folders, "int8")
    assert (repository / "precious").is_dir()


def test_a_full_disk_leaves_the_old_release(
    tmp_path: Path, folders: list[Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    repository = tmp_path / "repository"
    publish.publish(repository, folders, "int8")
    make_artefact(folders[1], "int8", b"new")
    copyfile = shutil.copyfile

    def full(source, target):
        if target.name == artefact.LABELS_FILE and "alexnet_int8" in target.parts:
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC), str(source), None, str(target))  # as Python does
        return copyfile(source, target)

    monkeypatch.setattr(shutil, "copyfile", full)
    where = r"No space left on device, free some or write elsewhere: '.*/repository\.releases/\.2\.partial/alexnet_int8"
    with pytest.raises(FileError, match=where):
        publish.publish(repository, folders, "int8")
    assert (repository / "alexnet_int8/1/model.onnx").read_bytes() == b"eight bits"
    assert not list((tmp_path / "repository.releases").glob(".*.partial"))
    monkeypatch.undo()
    assert publish.publish(repository, folders, "int8") == 2


def test_two_publishes_at_once_do_not_mix(tmp_path: Path, folders: list[Path]) -> None:
    repository = tmp_path / "repository"
    with (
        publish._locked(tmp_path / "repository.releases"),
        pytest.raises(PublishError, match="another publish is writing"),
    ):
        publish.publish(repository, folders, "int8")
