"""ImageNet's layout: folders by WordNet id or by label, some of them, in any order, mean a network's classes."""

from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from training.data.image_folder import ImageFolder
from training.data.image_set import DataError, ImageSet
from training.data.labels import IMAGENET, WORDNET_IDS, labelled_as, read_labels

WHOSE = Path("build/checkpoint")


def folder(data: Path, *names: str) -> ImageFolder:
    """A split of one image a class."""
    for name in names:
        (data / "test" / name).mkdir(parents=True)
        Image.new("RGB", (9, 9)).save(data / "test" / name / "0.png")
    return ImageFolder(data, "test")


def test_the_wordnet_ids_are_imagenets_in_the_order_of_the_labels() -> None:
    ids, labels = read_labels(WORDNET_IDS), read_labels(IMAGENET)
    assert len(set(ids)) == len(labels) == 1000
    assert list(ids) == sorted(ids)
    known = {"n01440764": "tench", "n01518878": "ostrich", "n02099601": "golden retriever", "n02123045": "tabby"}
    known |= {"n04285008": "sports car", "n07753592": "banana", "n15075141": "toilet tissue"}
    assert {key: dict(zip(ids, labels, strict=True))[key] for key in known} == known


@pytest.mark.parametrize(
    ("names", "targets"),
    [
        (("n02123045", "n01440764"), [0, 281]),
        (("tabby", "tench"), [281, 0]),
        (("n01440764", "tabby"), [0, 281]),
    ],
    ids=["wordnet", "labels", "both"],
)
def test_folders_by_id_and_by_label_have_the_networks_numbers(tmp_path: Path, names, targets: list[int]) -> None:
    labels = read_labels(IMAGENET)
    images = labelled_as(folder(tmp_path, *names), labels, WHOSE)
    assert images.labels == labels
    assert images.targets.tolist() == targets
    assert [images[index][1] for index in range(len(images))] == targets
    assert images.file(1).startswith(b"\x89PNG")
    np.testing.assert_array_equal(images.reader(0)(), images[0][0])


def test_all_of_imagenet_needs_no_other_order(tmp_path: Path) -> None:
    ids = read_labels(WORDNET_IDS)
    (tmp_path / "test").mkdir()
    for name in ids:
        (tmp_path / "test" / name).mkdir()
    Image.new("RGB", (9, 9)).save(tmp_path / "test" / ids[7] / "0.png")
    images = ImageFolder(tmp_path, "test")
    assert labelled_as(images, read_labels(IMAGENET), WHOSE) is images
    assert images.targets.tolist() == [7]


def test_classes_that_the_network_does_not_know_are_shown(images: ImageSet) -> None:
    assert labelled_as(images, images.labels, WHOSE) is images
    with pytest.raises(DataError, match="patterns/test has cat, owl, build/checkpoint knows dog, wolf: want folders"):
        labelled_as(images, ("dog", "wolf"), WHOSE)
    with pytest.raises(DataError, match="has two classes named dog"):
        labelled_as(images, ("cat", "dog", "dog", "owl"), WHOSE)


def test_one_class_in_two_folders_is_refused(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="one class in two folders, n01440764 and tench: merge them"):
        folder(tmp_path, "n01440764", "tench")
