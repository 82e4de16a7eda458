"""Opening a data set: Fashion-MNIST's four files, or an image folder."""

from __future__ import annotations

from pathlib import Path

from training.data.fashion_mnist import FashionMnist, is_fashion_mnist
from training.data.image_folder import ImageFolder, Pictures
from training.data.image_set import DataError, ImageSet
from training.data.listing import has_splits, holds_classes, list_split, pictures_in


def open_labelled(data: Path, split: str) -> ImageSet:
    """As :func:`open_split`, with labels.

    Raises:
        DataError: it has none, or cannot be opened.
    """
    _check_labelled(data, split)
    return open_split(data, split)


def count_labelled(data: Path, split: str) -> int:
    """How many files :func:`open_labelled` would open, without decoding any; it may find some that are no images.

    Raises:
        DataError: as of :func:`open_labelled`.
    """
    _check_labelled(data, split)
    if _is_folder(data, split):
        return len(list_split(data, split).files)
    return len(open_split(data, split))


def open_split(data: Path, split: str) -> ImageSet:
    """Open a split of the data set in ``data``: Fashion-MNIST's four files, or ``split/class/image`` folders.

    Where there are ``class/image`` folders, a part of each class is ``train``, and the rest ``test``. A folder of
    pictures without classes is every split of itself, and has no labels.

    Raises:
        DataError: it is none of these, or has no such split.
    """
    if is_fashion_mnist(data):
        return FashionMnist(data, split)
    if _is_folder(data, split):
        return ImageFolder(data, split)
    if _is_pictures(data):
        return Pictures(data)
    raise DataError(
        f"{data} is no data set with a split {split!r}: want {split}/<class>/<image> or <class>/<image> folders, "
        "a folder of pictures, or Fashion-MNIST as `python -m training fetch fashion-mnist` writes it"
    )


def _check_labelled(data: Path, split: str) -> None:
    if not is_fashion_mnist(data) and not _is_folder(data, split) and _is_pictures(data):
        raise DataError(
            f"{data} holds pictures without labels: want {split}/<class>/<image> folders, or <class>/<image> folders "
            "of two classes or more"
        )


def _is_folder(data: Path, split: str) -> bool:
    return not is_fashion_mnist(data) and ((data / split).is_dir() or holds_classes(data))


def _is_pictures(data: Path) -> bool:
    return data.is_dir() and bool(pictures_in(data)) and not has_splits(data)
