"""Class folders without splits: who is for training, who for testing, and what is no such folder."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest
from PIL import Image

from training.data.image_folder import ImageFolder
from training.data.image_set import DataError
from training.data.listing import list_split
from training.data.open import count_labelled, open_labelled, open_split


def write(folder: Path, count: int) -> None:
    folder.mkdir(parents=True)
    for number in range(count):
        Image.new("RGB", (30, 30), (number, 0, 0)).save(folder / f"{number}.png")


@pytest.fixture
def pets(tmp_path: Path) -> Path:
    for label, count in (("cat", 10), ("dog", 7), ("owl", 2), ("yak", 1)):
        write(tmp_path / "pets" / label, count)
    return tmp_path / "pets"


def test_a_fifth_of_each_class_and_one_at_least_is_the_test_split(pets: Path) -> None:
    train, test = (open_labelled(pets, split) for split in ("train", "test"))
    assert train.labels == test.labels == ("cat", "dog", "owl", "yak")
    assert [list(train.targets).count(number) for number in range(4)] == [8, 6, 1, 1]
    assert [list(test.targets).count(number) for number in range(4)] == [2, 1, 1, 0]
    assert train.sha256 != test.sha256
    assert (train.name, test.name) == ("pets/train", "pets/test")


def test_no_picture_is_in_both_splits_wherever_the_folder_lies(pets: Path, tmp_path: Path) -> None:
    moved = Path(shutil.copytree(pets, tmp_path / "elsewhere"))
    for folder in (pets, moved):
        train, test = (
            {path.relative_to(folder) for path in list_split(folder, split).files} for split in ("train", "test")
        )
        assert not train & test
        assert len(train | test) == 20
    assert test == {path.relative_to(pets) for path in list_split(pets, "test").files}


def test_a_new_picture_moves_no_other_out_of_training(pets: Path) -> None:
    before = set(list_split(pets, "train").files)
    Image.new("RGB", (30, 30)).save(pets / "cat" / "new.png")
    assert len(before - set(list_split(pets, "train").files)) <= 1


def test_folders_named_as_splits_are_splits(pets: Path) -> None:
    write(pets / "train" / "cat", 3)
    assert open_labelled(pets, "train").labels == ("cat",)
    with pytest.raises(DataError, match="is no data set with a split 'test'"):
        open_labelled(pets, "test")


def test_a_split_that_is_none_is_named(pets: Path) -> None:
    with pytest.raises(DataError, match="pets has no split 'val': want train or test, which its pictures are divided"):
        ImageFolder(pets, "val")


@pytest.mark.parametrize("where", [".", "cat/young"])
def test_pictures_beside_or_below_class_folders_have_no_labels(pets: Path, where: str) -> None:
    (pets / where).mkdir(exist_ok=True)
    Image.new("RGB", (30, 30)).save(pets / where / "other.png")
    assert open_split(pets, "train").labels == ()
    with pytest.raises(DataError, match="pets holds pictures without labels: want train/<class>/<image> folders, or"):
        open_labelled(pets, "train")


def test_files_are_counted_and_none_is_opened(pets: Path) -> None:
    (pets / "cat" / "broken.png").write_bytes(b"no image")
    assert count_labelled(pets, "train") + count_labelled(pets, "test") == 21
    assert not list(pets.glob(".*.scan.json"))
