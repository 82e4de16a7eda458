"""An image folder: ``split/class/*.jpg``, ImageNet's layout, with any number of classes."""

from __future__ import annotations

import contextlib
import hashlib
import json
import os
import warnings
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray
from tqdm import tqdm

from alexnet_client.files import atomic_path, sha256
from alexnet_client.preprocess import UndecodableImage, decode
from training.data.image_set import DataError

SUFFIXES = frozenset({".jpg", ".jpeg", ".png", ".webp", ".gif"})


class CorruptImages(UserWarning):
    """Some files of a folder are no images; they are named, counted and left out."""


class _Scan(NamedTuple):
    """What one look at every file found."""

    #: Path below the split -> why it is no image.
    corrupt: dict[str, str]
    #: Of the names and contents of all other files.
    sha256: str


class ImageFolder:
    """A split of an image folder; see :class:`training.data.image_set.ImageSet`.

    Every file is decoded once, when the split is first opened, so that a corrupt one is found before the training and
    not in epoch 40. The result is kept in ``.<split>.scan.json`` beside the split, by name, size and time of each file.
    """

    def __init__(self, folder: Path, split: str) -> None:
        """Open and, when files have changed, scan a split.

        Raises:
            DataError: no class folders, or no image that can be used.
        """
        root = folder / split
        self.name = f"{folder.name}/{split}"
        self.labels = tuple(sorted(entry.name for entry in os.scandir(root) if entry.is_dir()))
        files = sorted(path for path in root.glob("*/*") if path.suffix.lower() in SUFFIXES)
        if not files:
            raise DataError(f"{root} holds no images: want {root}/<class>/<image>{{{','.join(sorted(SUFFIXES))}}}")
        corrupt, self.sha256 = _scan(root, files)
        for name, reason in corrupt.items():
            warnings.warn(f"{root / name}: {reason}", CorruptImages, stacklevel=2)
        if corrupt:
            warnings.warn(f"{len(corrupt):,} of {len(files):,} files left out", CorruptImages, stacklevel=2)
        self._files = [path for path in files if str(path.relative_to(root)) not in corrupt]
        if not self._files:
            raise DataError(f"{root}: none of {len(files):,} files is an image that can be used")
        numbers = {label: number for number, label in enumerate(self.labels)}
        self.targets: NDArray[np.int64] = np.array([numbers[path.parent.name] for path in self._files], np.int64)

    def __len__(self) -> int:
        return len(self._files)

    def __getitem__(self, index: int) -> tuple[NDArray[np.uint8], int]:
        try:
            return decode(self.file(index)), int(self.targets[index])
        except UndecodableImage as error:
            raise DataError(f"{self._files[index]} was damaged after the scan: {error}") from error

    def file(self, index: int) -> bytes:
        """The file as it is."""
        return self._files[index].read_bytes()


def _scan(root: Path, files: list[Path]) -> _Scan:
    kept = root.with_name(f".{root.name}.scan.json")
    fingerprint = _fingerprint(root, files)
    try:
        known = json.loads(kept.read_text())
        if known["fingerprint"] == fingerprint:
            return _Scan(known["corrupt"], known["sha256"])
    except (OSError, ValueError, KeyError):
        pass
    names = [str(path.relative_to(root)) for path in files]
    total = hashlib.sha256()
    with ThreadPoolExecutor() as pool:
        checked = tqdm(pool.map(_problem, files), f"scan {root.name}", len(files), unit="image")
        corrupt = {name: reason for name, reason in zip(names, checked, strict=True) if reason}
        whole = [name for name in names if name not in corrupt]
        for name, digest in zip(whole, pool.map(lambda name: sha256(root / name), whole), strict=True):
            total.update(f"{name}\0{digest}\n".encode())
    found = _Scan(corrupt, total.hexdigest())
    with contextlib.suppress(OSError), atomic_path(kept) as partial:  # data mounted read-only: scanned every time
        partial.write_text(json.dumps({"fingerprint": fingerprint, **found._asdict()}))
    return found


def _problem(path: Path) -> str | None:
    try:
        decode(path.read_bytes())
    except (UndecodableImage, OSError) as error:
        return str(error)
    return None


def _fingerprint(root: Path, files: list[Path]) -> str:
    """Changes when a file does, without reading any."""
    total = hashlib.sha256()
    for path in files:
        status = path.stat()
        total.update(f"{path.relative_to(root)}\0{status.st_size}\0{status.st_mtime_ns}\n".encode())
    return total.hexdigest()
