"""What an image folder is known by: the names and contents of its images, wherever it lies."""

import errno
import os
import shutil
import warnings
from pathlib import Path

import pytest
from PIL import Image

from alexnet_client.errors import FileError
from training.data.image_folder import CorruptImages, ImageFolder

SCAN = ".train.scan.json"


@pytest.fixture
def data(tmp_path: Path) -> Path:
    for label in ("cat", "dog"):
        folder = tmp_path / "data" / "train" / label
        folder.mkdir(parents=True)
        Image.new("RGB", (40, 30), {"cat": "red", "dog": "blue"}[label]).save(folder / "0.png")
    return tmp_path / "data"


def test_its_hash_is_of_the_contents_not_of_the_files_times(data: Path) -> None:
    before = ImageFolder(data, "train").sha256
    os.utime(data / "train/cat/0.png", (0, 0))
    assert ImageFolder(data, "train").sha256 == before
    Image.new("RGB", (40, 30), "green").save(data / "train/cat/0.png")
    assert ImageFolder(data, "train").sha256 != before


def test_a_kept_scan_holds_where_the_folder_is_moved_to_or_named_differently(
    data: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A corrupt file known under one path must not slip into training under another."""
    (data / "train/cat/1.png").write_bytes(b"no image")
    with pytest.warns(CorruptImages):
        first = ImageFolder(data, "train")
    monkeypatch.chdir(tmp_path)
    moved = Path(shutil.copytree(data, "moved"))  # with its scan and its times
    for place in (Path("data"), moved):
        with pytest.warns(CorruptImages) as caught:
            again = ImageFolder(place, "train")
        assert "cat/1.png: got 8 bytes" in str(caught[0].message)
        assert len(again) == 2
        assert again.sha256 == first.sha256


def test_data_that_cannot_be_written_to_is_scanned_and_used(data: Path) -> None:
    (data / SCAN).mkdir()  # nothing can be renamed onto a folder
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        assert len(ImageFolder(data, "train")) == 2


@pytest.mark.parametrize("copied", [True, False])
def test_another_file_of_the_same_size_and_time_is_noticed(data: Path, tmp_path: Path, copied: bool) -> None:
    """As ``cp -p`` and ``mv`` leave it."""
    old, new = data / "train/cat/0.png", tmp_path / "new.png"
    before = ImageFolder(data, "train").sha256
    new.write_bytes(old.read_bytes()[:-1] + b"x")
    times = old.stat().st_atime_ns, old.stat().st_mtime_ns
    os.utime(new, ns=times)
    shutil.copy2(new, old) if copied else new.rename(old)
    assert old.stat().st_mtime_ns == times[1]
    assert ImageFolder(data, "train").sha256 != before


def test_a_change_right_after_the_scan_is_noticed(data: Path) -> None:
    """However coarse the file system's clock is."""
    path = data / "train/cat/0.png"
    whole = path.read_bytes()
    for _ in range(5):
        path.write_bytes(whole)
        times = path.stat().st_atime_ns, path.stat().st_mtime_ns
        before = ImageFolder(data, "train").sha256
        path.write_bytes(whole[:-1] + b"x")
        os.utime(path, ns=times)
        assert ImageFolder(data, "train").sha256 != before


def test_a_file_that_cannot_be_read_for_a_while_is_not_left_out_for_ever(
    data: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    wanted = ImageFolder(data, "train").sha256
    (data / SCAN).unlink()
    read_bytes = Path.read_bytes

    def failing(path: Path) -> bytes:
        if path.parent.name == "dog":
            raise OSError(errno.EIO, os.strerror(errno.EIO), str(path))
        return read_bytes(path)

    with monkeypatch.context() as patch:
        patch.setattr(Path, "read_bytes", failing)
        with pytest.warns(CorruptImages, match="Input/output error"), pytest.warns(CorruptImages, match="1 of 2"):
            assert len(ImageFolder(data, "train")) == 1
    again = ImageFolder(data, "train")
    assert (len(again), again.sha256) == (2, wanted)


def test_a_file_that_is_gone_is_named(data: Path) -> None:
    images = ImageFolder(data, "train")
    (data / "train/dog/0.png").unlink()
    with pytest.raises(FileError, match=r"dog/0\.png"):
        images[1]


def test_a_damaged_scan_is_made_again(data: Path) -> None:
    wanted = ImageFolder(data, "train").sha256
    (data / SCAN).write_text("{")
    assert ImageFolder(data, "train").sha256 == wanted
