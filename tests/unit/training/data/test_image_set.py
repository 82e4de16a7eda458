"""Data sets: files that are not Fashion-MNIST, image folders, corrupt files."""

import gzip
from pathlib import Path

import pytest
from PIL import Image

from training.data import fashion_mnist as module
from training.data.batches import batches
from training.data.fashion_mnist import FashionMnist
from training.data.image_folder import CorruptImages, ImageFolder
from training.data.image_set import DataError
from training.data.open import open_labelled, open_split


def test_other_data_under_its_name_is_refused(tmp_path: Path) -> None:
    (tmp_path / "t10k-images-idx3-ubyte.gz").write_bytes(gzip.compress(b"other"))
    with pytest.raises(DataError, match="is not Fashion-MNIST: SHA-256"):
        FashionMnist(tmp_path, "test")
    (tmp_path / "t10k-images-idx3-ubyte.gz").unlink()
    with pytest.raises(DataError, match="is missing: run `python -m training fetch fashion-mnist"):
        FashionMnist(tmp_path, "test")
    with pytest.raises(DataError, match="has no split 'val'"):
        FashionMnist(tmp_path, "val")


def test_no_source_at_all_says_what_was_tried(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*_):
        raise OSError("no network")

    monkeypatch.setattr(module, "_from_debian", refuse)
    monkeypatch.setattr(module, "_from_official", refuse)
    with pytest.raises(DataError, match=r"could not be fetched \(.*no network.*put its four \.gz files into"):
        module.fetch(tmp_path)


@pytest.fixture
def photographs(tmp_path: Path) -> Path:
    for label, count in (("cat", 3), ("dog", 2)):
        (tmp_path / "train" / label).mkdir(parents=True)
        for number in range(count):
            Image.new("RGB", (300, 260), (number * 50, 0, 0)).save(tmp_path / "train" / label / f"{number}.jpg")
    return tmp_path


def test_an_image_folder_has_its_folders_as_classes(photographs: Path) -> None:
    images = open_split(photographs, "train")
    assert images.labels == ("cat", "dog")
    assert images.targets.tolist() == [0, 0, 0, 1, 1]
    assert images[1][0].shape == (224, 224, 3)
    assert abs(int(images[1][0][0, 0, 0]) - 50) < 4


def test_corrupt_files_are_named_counted_and_left_out(photographs: Path) -> None:
    bad = photographs / "train/cat/1.jpg"
    bad.write_bytes(bad.read_bytes()[:400])
    (photographs / "train/dog/empty.png").touch()
    with pytest.warns(CorruptImages) as caught:
        images = ImageFolder(photographs, "train")
    messages = [str(warning.message) for warning in caught]
    assert any("cat/1.jpg: got a truncated or corrupt image" in message for message in messages)
    assert any("dog/empty.png: got an empty image" in message for message in messages)
    assert messages[-1] == "2 of 6 files left out"
    assert images.targets.tolist() == [0, 0, 1, 1]


def test_the_scan_is_kept_until_a_file_changes(photographs: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    first = ImageFolder(photographs, "train")
    with monkeypatch.context() as patch:
        patch.setattr("training.data.scan._look", lambda path: pytest.fail(f"scanned {path} again"))
        assert ImageFolder(photographs, "train").sha256 == first.sha256
    (photographs / "train/dog/1.jpg").write_bytes(b"now text")
    with pytest.warns(CorruptImages):
        assert len(ImageFolder(photographs, "train")) == 4


def test_what_is_no_data_set_is_refused(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="is no data set with a split 'train'"):
        open_split(tmp_path, "train")
    (tmp_path / "train" / "cat").mkdir(parents=True)
    with pytest.raises(DataError, match="holds no images"):
        open_split(tmp_path, "train")
    (tmp_path / "train/cat/a.png").write_bytes(b"x")
    with pytest.warns(CorruptImages), pytest.raises(DataError, match="none of 1 files"):
        open_split(tmp_path, "train")


def test_a_folder_of_pictures_is_every_split_and_has_no_labels(tmp_path: Path) -> None:
    (tmp_path / "holiday").mkdir()
    for name in ("b.png", "a.jpg", "holiday/c.webp"):
        Image.new("RGB", (30, 20), "red").save(tmp_path / name)
    (tmp_path / "notes.txt").write_text("no picture")
    (tmp_path / "holiday" / "bad.png").write_text("no picture")
    with pytest.warns(CorruptImages, match="left out|no JPEG"):
        images = open_split(tmp_path, "test")
    assert (len(images), images.labels, images.targets.tolist()) == (3, (), [-1] * 3)
    assert images.file(0) == (tmp_path / "a.jpg").read_bytes()
    assert [pixels.shape for pixels, _ in batches(images, 2)] == [(2, 224, 224, 3), (1, 224, 224, 3)]
    with pytest.raises(DataError, match="holds pictures without labels: want train/<class>"):
        open_labelled(tmp_path, "train")
