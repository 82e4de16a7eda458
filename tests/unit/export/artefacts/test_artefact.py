"""Artefacts appear whole, and what is there stays until then."""

import errno
from pathlib import Path

import pytest

from alexnet_client.errors import FileError
from export.artefacts import artefact
from tests.artefacts import make_artefact


def names(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.iterdir())


def test_a_sealed_draft_takes_the_place_of_what_was_there(tmp_path: Path) -> None:
    first = artefact.read(make_artefact(tmp_path / "fp32", "fp32", b"one"))
    second = artefact.read(make_artefact(tmp_path / "fp32", "fp32", b"two"))
    assert first.files != second.files
    assert names(tmp_path) == ["fp32"]
    assert names(tmp_path / "fp32") == ["labels.txt", "manifest.json", "model.onnx"]


@pytest.mark.parametrize("failure", [OSError(errno.ENOSPC, "No space left on device"), KeyboardInterrupt()])
def test_one_that_fails_leaves_what_was_there(tmp_path: Path, failure: BaseException) -> None:
    before = artefact.read(make_artefact(tmp_path / "fp32", "fp32", b"one"))
    with pytest.raises((FileError, KeyboardInterrupt)), artefact.begin(tmp_path / "fp32") as draft:  # noqa: PT012
        (draft.path / artefact.MODEL_FILE).write_bytes(b"half")
        raise failure
    assert artefact.read(tmp_path / "fp32") == before
    assert names(tmp_path) == ["fp32"]


def test_one_that_is_not_sealed_is_none(tmp_path: Path) -> None:
    with artefact.begin(tmp_path / "fp32") as draft:
        (draft.path / artefact.MODEL_FILE).write_bytes(b"one")
    assert names(tmp_path) == []


def test_what_a_killed_one_left_is_cleared(tmp_path: Path) -> None:
    (tmp_path / ".fp32.partial").mkdir()
    (tmp_path / ".fp32.partial" / "model.onnx").write_bytes(b"half")
    make_artefact(tmp_path / "fp32", "fp32", b"one")
    assert names(tmp_path) == ["fp32"]
    assert set(artefact.all_in(tmp_path)) == {"fp32"}


def test_files_can_be_kept_without_a_copy(tmp_path: Path) -> None:
    before = artefact.read(make_artefact(tmp_path / "fp32", "fp32", b"one"))
    inode = (tmp_path / "fp32" / artefact.MODEL_FILE).stat().st_ino
    with artefact.begin(tmp_path / "fp32") as draft:
        draft.keep(*before.files)
        (draft.path / "more").write_bytes(b"more")
        draft.sealed_as(before)
    assert artefact.read(tmp_path / "fp32").files.keys() == {*before.files, "more"}
    assert (tmp_path / "fp32" / artefact.MODEL_FILE).stat().st_ino == inode
