"""Files and folders that appear whole or not at all."""

from __future__ import annotations

from pathlib import Path

import pytest

from alexnet_client.errors import FileError
from alexnet_client.files import atomic_path, new_folder


def contents(folder: Path) -> list[str]:
    return sorted(str(path.relative_to(folder)) for path in folder.rglob("*"))


def half(file: Path) -> None:
    file.write_text("half")
    raise KeyError


def test_a_file_is_replaced_as_a_whole_and_readable_by_all(tmp_path: Path) -> None:
    target = tmp_path / "new/file"
    for text in ("first", "second"):
        with atomic_path(target) as partial:
            partial.write_text(text)
            assert partial.parent == target.parent
        assert target.read_text() == text
    assert target.stat().st_mode & 0o777 == 0o644
    assert contents(tmp_path) == ["new", "new/file"]


def test_a_block_that_raises_leaves_the_old_file(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("old")
    with pytest.raises(KeyError), atomic_path(tmp_path / "file") as partial:
        half(partial)
    assert contents(tmp_path) == ["file"]
    assert (tmp_path / "file").read_text() == "old"


def test_a_folder_appears_whole(tmp_path: Path) -> None:
    with new_folder(tmp_path / "views/one") as partial:
        (partial / "file").write_text("x")
        assert not (tmp_path / "views/one").exists()
    assert contents(tmp_path) == ["views", "views/one", "views/one/file"]
    assert (tmp_path / "views/one").stat().st_mode & 0o777 == 0o755


def test_a_folder_that_another_was_faster_to_make_stays(tmp_path: Path) -> None:
    with new_folder(tmp_path / "one") as partial:
        (partial / "file").write_text("mine")
        (tmp_path / "one").mkdir()
        (tmp_path / "one/file").write_text("the other's")
    assert contents(tmp_path) == ["one", "one/file"]
    assert (tmp_path / "one/file").read_text() == "the other's"


def test_a_folder_that_cannot_be_made_is_the_users_to_mend(tmp_path: Path) -> None:
    (tmp_path / "one").write_text("a file")
    with pytest.raises(FileError, match="one"), new_folder(tmp_path / "one") as partial:
        (partial / "file").touch()
    with pytest.raises(KeyError), new_folder(tmp_path / "two") as partial:
        half(partial / "file")
    assert contents(tmp_path) == ["one"]
