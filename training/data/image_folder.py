"""Image folders: ``split/class/*.jpg``, ImageNet's layout, or ``class/*.jpg``, and pictures without classes."""

from __future__ import annotations

import warnings
from functools import partial
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from alexnet_client.files import file_errors
from alexnet_client.preprocess import decode
from alexnet_client.undecodable import UndecodableImage
from training.data.image_set import DataError, Reader
from training.data.listing import list_split, pictures_in
from training.data.scan import scan


class CorruptImages(UserWarning):
    """Some files of a folder are no images; they are named, counted and left out."""


class ImageFolder:
    """A split of an image folder; see :class:`training.data.image_set.ImageSet`.

    Which files and labels those are, says :mod:`training.data.listing`.
    Every file is decoded once, when the split is first opened, so that a corrupt one is found before the training and
    not in epoch 40; see :func:`training.data.scan.scan`.
    """

    def __init__(self, folder: Path, split: str) -> None:
        """Open and, when files have changed, scan a split.

        Raises:
            DataError: as of :func:`training.data.listing.list_split`, or no image that can be used.
            alexnet_client.errors.FileError: a folder or a file cannot be read.
        """
        listing = list_split(folder, split)
        self.name = f"{folder.name}/{split}"
        self.labels = listing.labels
        self._files, self.sha256 = usable(listing.root, listing.files, folder / f".{split}.scan.json")
        numbers = {name: number for number, name in enumerate(listing.folders)}
        self.targets: NDArray[np.int64] = np.array([numbers[path.parent.name] for path in self._files], np.int64)

    def __len__(self) -> int:
        return len(self._files)

    def __getitem__(self, index: int) -> tuple[NDArray[np.uint8], int]:
        return self.reader(index)(), int(self.targets[index])

    def reader(self, index: int) -> Reader:
        """Holds the file's path."""
        return partial(_decoded, self._files[index])

    def file(self, index: int) -> bytes:
        """The file as it is."""
        return _bytes(self._files[index])


class Pictures:
    """Pictures without labels, in a folder and below it; see :class:`training.data.image_set.ImageSet`.

    They have no labels and no targets that mean anything: accuracy cannot be measured on them, everything else can.
    """

    labels: tuple[str, ...] = ()

    def __init__(self, folder: Path) -> None:
        """Open and, when files have changed, scan a folder.

        Raises:
            DataError: no image that can be used.
            alexnet_client.errors.FileError: a folder or a file cannot be read.
        """
        self.name = folder.name
        kept = folder.with_name(f".{folder.name}.scan.json")
        self._files, self.sha256 = usable(folder, pictures_in(folder), kept)
        self.targets: NDArray[np.int64] = np.full(len(self._files), -1, np.int64)

    def __len__(self) -> int:
        return len(self._files)

    def __getitem__(self, index: int) -> tuple[NDArray[np.uint8], int]:
        return self.reader(index)(), -1

    def reader(self, index: int) -> Reader:
        """Holds the file's path."""
        return partial(_decoded, self._files[index])

    def file(self, index: int) -> bytes:
        """The file as it is."""
        return _bytes(self._files[index])


def usable(root: Path, files: list[Path], kept: Path) -> tuple[list[Path], str]:
    """The files that can be decoded, with a warning for each of the others, and the SHA-256 of all that is left.

    Args:
        kept: where what was found is kept.

    Raises:
        DataError: none can.
    """
    unusable, sha256 = scan(root, files, kept)
    for name, reason in unusable.items():
        warnings.warn(f"{root / name}: {reason}", CorruptImages, stacklevel=3)
    if unusable:
        warnings.warn(f"{len(unusable):,} of {len(files):,} files left out", CorruptImages, stacklevel=3)
    left = [path for path in files if str(path.relative_to(root)) not in unusable]
    if not left:
        raise DataError(f"{root}: none of {len(files):,} files is an image that can be used")
    return left, sha256


def _decoded(path: Path) -> NDArray[np.uint8]:
    try:
        return decode(_bytes(path))
    except UndecodableImage as error:
        raise DataError(f"{path} was damaged after the scan: {error}") from error


def _bytes(path: Path) -> bytes:
    with file_errors(path):
        return path.read_bytes()
