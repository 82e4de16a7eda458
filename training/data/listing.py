"""The listing: which files a split of an image folder has, by their names alone; none is opened."""

from __future__ import annotations

import os
from pathlib import Path
from typing import NamedTuple

from alexnet_client.files import file_errors, sha256_of
from training.data.image_set import DataError
from training.data.labels import label_of

SUFFIXES = frozenset({".jpg", ".jpeg", ".png", ".webp", ".gif"})
#: Names that say that a folder has splits.
SPLITS = ("train", "test", "val")
#: Of class folders without splits, one picture in so many of each class is for testing.
TEST_SHARE = 5


class Listing(NamedTuple):
    """A split's files, as yet unopened."""

    #: What the files' names are relative to.
    root: Path
    #: Names of the class folders, in the order of the labels.
    folders: list[str]
    files: list[Path]

    @property
    def labels(self) -> tuple[str, ...]:
        """The folders' names, but ImageNet's WordNet ids have ImageNet's labels."""
        return tuple(map(label_of, self.folders))


def list_split(folder: Path, split: str) -> Listing:
    """The files of ``folder/split/<class>/``; where there are no splits, the split's share of ``folder/<class>/``.

    Raises:
        DataError: no images, no such split, or one class in two folders.
        alexnet_client.errors.FileError: a folder cannot be read.
    """
    divided = (folder / split).is_dir() or has_splits(folder)
    root = folder / split if divided else folder
    with file_errors(root):
        folders = sorted(entry.name for entry in os.scandir(root) if entry.is_dir())
    files = sorted(path for path in root.glob("*/*") if path.suffix.lower() in SUFFIXES)
    if not divided:
        if split not in ("train", "test"):
            raise DataError(f"{folder} has no split {split!r}: want train or test, which its pictures are divided into")
        folders = sorted({path.parent.name for path in files})
        files = _share(files, split)
    if not files:
        raise DataError(f"{root} holds no images: want {root}/<class>/<image>{{{','.join(sorted(SUFFIXES))}}}")
    listing = Listing(root, folders, files)
    if len(set(listing.labels)) < len(folders):
        twice = [name for name in folders if label_of(name) != name and label_of(name) in folders]
        raise DataError(f"{root} has one class in two folders, {twice[0]} and {label_of(twice[0])}: merge them")
    return listing


def holds_classes(folder: Path) -> bool:
    """Whether a folder without splits has all its pictures in class folders, two at least."""
    pictures = pictures_in(folder)
    depths = {len(path.relative_to(folder).parts) for path in pictures}
    return depths == {2} and len({path.parent for path in pictures}) > 1 and not has_splits(folder)


def has_splits(folder: Path) -> bool:
    """Whether a folder's own folders are splits."""
    return any((folder / name).is_dir() for name in SPLITS)


def pictures_in(folder: Path) -> list[Path]:
    """The image files of a folder and below it, by their names, in order."""
    return sorted(path for path in folder.rglob("*") if path.suffix.lower() in SUFFIXES and path.is_file())


def _share(files: list[Path], split: str) -> list[Path]:
    """A split's files of each class, chosen by the hashes of their names: the same wherever the folder lies."""
    classes: dict[str, list[Path]] = {}
    for path in files:
        classes.setdefault(path.parent.name, []).append(path)
    chosen = []
    for members in classes.values():
        members.sort(key=lambda path: sha256_of(path.name))
        tests = max(len(members) // TEST_SHARE, int(len(members) > 1))
        chosen += members[:tests] if split == "test" else members[tests:]
    return sorted(chosen)
