"""Opening a data set: Fashion-MNIST's four files, or an image folder."""

from __future__ import annotations

from pathlib import Path

from training.data.fashion_mnist import FashionMnist, is_fashion_mnist
from training.data.image_folder import ImageFolder
from training.data.image_set import DataError, ImageSet


def open_split(data: Path, split: str) -> ImageSet:
    """Open a split of the data set in ``data``: Fashion-MNIST's four files, or ``split/class/image`` folders.

    Raises:
        DataError: it is neither, or has no such split.
    """
    if is_fashion_mnist(data):
        return FashionMnist(data, split)
    if (data / split).is_dir():
        return ImageFolder(data, split)
    raise DataError(
        f"{data} is no data set with a split {split!r}: want {split}/<class>/<image> folders, "
        "or Fashion-MNIST as `python -m training fetch fashion-mnist` writes it"
    )
