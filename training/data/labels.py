"""Class names: ImageNet's folders have theirs by WordNet id, and a data set's classes are found among a network's."""

from __future__ import annotations

from collections.abc import Sequence
from functools import cache
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from alexnet_client.files import file_errors
from training.data.image_set import DataError, ImageSet, Reader

#: Of ImageNet's 1000 classes, in torchvision's order: a label a line, and its WordNet id in the same line here.
FOLDER = Path(__file__).parents[1] / "labels"
IMAGENET = FOLDER / "imagenet.txt"
WORDNET_IDS = FOLDER / "imagenet_wordnet.txt"


def read_labels(path: Path) -> tuple[str, ...]:
    """The labels in a text file, one a line, in the order of the classes.

    Raises:
        DataError: it is empty or has an empty line.
        alexnet_client.errors.FileError: it cannot be read.
    """
    with file_errors(path):
        labels = tuple(path.read_text().strip().splitlines())
    if not labels or not all(labels):
        raise DataError(f"{path} is empty or has an empty line: want one label a line, in the order of the classes")
    return labels


def label_of(folder: str) -> str:
    """The label of a class's folder: ImageNet's for one of its WordNet ids, else the folder's own name."""
    return _wordnet().get(folder, folder)


def labelled_as(images: ImageSet, labels: Sequence[str], whose: Path) -> ImageSet:
    """The same images, their labels and targets in the order that a network has them; it may know more classes.

    Args:
        whose: the network's folder, for the error.

    Raises:
        DataError: the network does not know a class, or has two of its name; shows which.
    """
    if tuple(images.labels) == tuple(labels):
        return images
    numbers = {label: number for number, label in enumerate(labels)}
    unknown = [label for label in images.labels if label not in numbers]
    if unknown:
        raise DataError(
            f"{images.name} has {_some(unknown)}, {whose} knows {_some(labels)}: "
            "want folders named by these labels or by ImageNet's WordNet ids, or pictures without class folders: give "
            "another --data"
        )
    twice = [label for label in images.labels if list(labels).count(label) > 1]
    if twice:
        raise DataError(f"{whose} has two classes named {_some(twice)}: {images.name} cannot tell them apart by name")
    return _Relabelled(images, tuple(labels), np.array([numbers[label] for label in images.labels], np.int64))


class _Relabelled:
    """An image set with other numbers for its labels."""

    def __init__(self, images: ImageSet, labels: tuple[str, ...], numbers: NDArray[np.int64]) -> None:
        self._images = images
        self.name = images.name
        self.labels = labels
        self.targets: NDArray[np.int64] = numbers[images.targets]
        self.sha256 = images.sha256

    def __len__(self) -> int:
        return len(self._images)

    def __getitem__(self, index: int) -> tuple[NDArray[np.uint8], int]:
        return self.reader(index)(), int(self.targets[index])

    def reader(self, index: int) -> Reader:
        return self._images.reader(index)

    def file(self, index: int) -> bytes:
        return self._images.file(index)


@cache
def _wordnet() -> dict[str, str]:
    return dict(zip(read_labels(WORDNET_IDS), read_labels(IMAGENET), strict=True))


def _some(labels: Sequence[str]) -> str:
    return ", ".join(labels[:3]) + (f"... ({len(labels):,})" if len(labels) > 3 else "")
