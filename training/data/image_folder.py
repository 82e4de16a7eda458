"""Image folders: ``split/class/*.jpg``, ImageNet's layout, with any number of classes, and pictures without any."""

from __future__ import annotations

import os
import warnings
from functools import partial
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from alexnet_client.files import file_errors
from alexnet_client.preprocess import decode
from alexnet_client.undecodable import UndecodableImage
from training.data.image_set import DataError, Reader
from training.data.labels import label_of
from training.data.scan import scan

SUFFIXES = frozenset({".jpg", ".jpeg", ".png", ".webp", ".gif"})


class CorruptImages(UserWarning):
    """Some files of a folder are no images; they are named, counted and left out."""


class ImageFolder:
    """A split of an image folder; see :class:`training.data.image_set.ImageSet`.

    The folders' names are the labels, but ImageNet's WordNet ids have ImageNet's: see :mod:`training.data.labels`.
    Every file is decoded once, when the split is first opened, so that a corrupt one is found before the training and
    not in epoch 40; see :func:`training.data.scan.scan`.
    """

    def __init__(self, folder: Path, split: str) -> None:
        """Open and, when files have changed, scan a split.

        Raises:
            DataError: no class folders, or no image that can be used.
            alexnet_client.errors.FileError: a folder or a file cannot be read.
        """
        root = folder / split
        self.name = f"{folder.name}/{split}"
        with file_errors(root):
            folders = sorted(entry.name for entry in os.scandir(root) if entry.is_dir())
        self.labels = tuple(label_of(folder) for folder in folders)
        if len(set(self.labels)) < len(folders):
            twice = [folder for folder in folders if label_of(folder) != folder and label_of(folder) in folders]
            raise DataError(f"{root} has one class in two folders, {twice[0]} and {label_of(twice[0])}: merge them")
        files = sorted(path for path in root.glob("*/*") if path.suffix.lower() in SUFFIXES)
        if not files:
            raise DataError(f"{root} holds no images: want {root}/<class>/<image>{{{','.join(sorted(SUFFIXES))}}}")
        self._files, self.sha256 = usable(root, files)
        numbers = {folder: number for number, folder in enumerate(folders)}
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
        self._files, self.sha256 = usable(folder, pictures_in(folder))
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


def pictures_in(folder: Path) -> list[Path]:
    """The image files of a folder and below it, by their names, in order."""
    return sorted(path for path in folder.rglob("*") if path.suffix.lower() in SUFFIXES and path.is_file())


def usable(root: Path, files: list[Path]) -> tuple[list[Path], str]:
    """The files that can be decoded, with a warning for each of the others, and the SHA-256 of all that is left.

    Raises:
        DataError: none can.
    """
    unusable, sha256 = scan(root, files)
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
