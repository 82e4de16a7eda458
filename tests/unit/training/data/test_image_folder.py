"""What an image folder is known by: the names and contents of its images, wherever it lies."""

import os
import shutil
import warnings
from pathlib import Path

import pytest
from PIL import Image

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


def test_a_damaged_scan_is_made_again(data: Path) -> None:
    wanted = ImageFolder(data, "train").sha256
    (data / SCAN).write_text("{")
    assert ImageFolder(data, "train").sha256 == wanted
