"""Opening a data set: Fashion-MNIST's four files, or an image folder."""

from __future__ import annotations

from pathlib import Path

from training.data.fashion_mnist import FashionMnist, is_fashion_mnist
from training.data.image_folder import ImageFolder, Pictures, pictures_in
from training.data.image_set import DataError, ImageSet

#: Names that say that a folder has splits.
SPLITS = ("train", "test", "val")


def open_labelled(data: Path, split: str) -> ImageSet:
    """As :func:`open_split`, with labels.

    Raises:
        DataError: it has none, or cannot be opened.
    """
    images = open_split(data, split)
    if not images.labels:
        raise DataError(f"{data} holds pictures without labels: want {split}/<class>/<image> folders")
    return images


def open_split(data: Path, split: str) -> ImageSet:
    """Open a split of the data set in ``data``: Fashion-MNIST's four files, or ``split/class/image`` folders.

    A folder of pictures without classes is every split of itself, and has no labels.

    Raises:
        DataError: it is neither, or has no such split.
    """
    if is_fashion_mnist(data):
        return FashionMnist(data, split)
    if (data / split).is_dir():
        return ImageFolder(data, split)
    if data.is_dir() and pictures_in(data) and not any((data / known).is_dir() for known in SPLITS):
        return Pictures(data)
    raise DataError(
        f"{data} is no data set with a split {split!r}: want {split}/<class>/<image> folders, "
        "a folder of pictures, or Fashion-MNIST as `python -m training fetch fashion-mnist` writes it"
    )
