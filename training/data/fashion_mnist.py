"""Fashion-MNIST (Xiao, Rasul, Vollgraf 2017): 60,000 + 10,000 grey images of 28 x 28 pixels in ten classes."""

from __future__ import annotations

import gzip
import io
import shutil
import subprocess
import tempfile
import urllib.request
import zlib
from functools import partial
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from alexnet_client.files import atomic_path, sha256_of
from alexnet_client.preprocess import preprocess
from training.data.image_set import DataError, Reader

LABELS = (
    "T-shirt/top",
    "Trouser",
    "Pullover",
    "Dress",
    "Coat",
    "Sandal",
    "Shirt",
    "Sneaker",
    "Bag",
    "Ankle boot",
)
SIDE = 28
#: Of the decompressed files: the same data is distributed in different gzip envelopes.
SHA256 = {
    "train-images-idx3-ubyte": "c59f468a2f672dc815687fe0f83887768d799fd8a3f3276145d20f83aa44d888",
    "train-labels-idx1-ubyte": "bad3541b69d912435c50bb6ba87bec294ff4f6a2e1246121d8633921760443d9",
    "t10k-images-idx3-ubyte": "5b4141f0afbad91edebe8549f8fcffe087ea10ca49f1dbef5c9a5cd8815ce37b",
    "t10k-labels-idx1-ubyte": "0402a96d92fd2663957122ceb108a494c5af83dab82d92729df917d7dec38c34",
}
FILES = {"train": "train", "test": "t10k"}
OFFICIAL = "http://fashion-mnist.s3-website.eu-central-1.amazonaws.com"
DEBIAN_PACKAGE = "dataset-fashion-mnist"
_TIMEOUT = 20.0


def is_fashion_mnist(folder: Path) -> bool:
    """Whether ``folder`` holds its files."""
    return (folder / "t10k-images-idx3-ubyte.gz").is_file()


def fetch(folder: Path) -> None:
    """Put the four files into ``folder``, from Debian's package (no root needed) or the official download.

    Files that are there and whole are kept.

    Raises:
        DataError: neither source answers, or what came has another SHA-256.
    """
    missing = [name for name in SHA256 if not _is_whole(folder, name)]
    if not missing:
        return
    with tempfile.TemporaryDirectory() as temporary:
        source = Path(temporary)
        problems = []
        for get in (_from_debian, _from_official):
            try:
                get(source, missing)
                break
            except (OSError, subprocess.CalledProcessError) as error:
                problems.append(f"{get.__name__.removeprefix('_from_')}: {error}")
        else:
            raise DataError(
                f"Fashion-MNIST could not be fetched ({'; '.join(problems)}): "
                f"put its four .gz files into {folder} by hand"
            )
        for name in missing:
            _read(source, name)
            with atomic_path(folder / f"{name}.gz") as partial:
                shutil.copyfile(source / f"{name}.gz", partial)


class FashionMnist:
    """A split of Fashion-MNIST; see :class:`training.data.image_set.ImageSet`."""

    labels: tuple[str, ...] = LABELS

    def __init__(self, folder: Path, split: str) -> None:
        """Read a split, ``train`` or ``test``, into memory.

        Raises:
            DataError: another split, a file that is missing or has another SHA-256.
        """
        if split not in FILES:
            raise DataError(f"Fashion-MNIST has no split {split!r}: want one of {', '.join(FILES)}")
        images, labels = f"{FILES[split]}-images-idx3-ubyte", f"{FILES[split]}-labels-idx1-ubyte"
        self.name = f"fashion-mnist/{split}"
        self.sha256 = sha256_of(f"{SHA256[images]} {SHA256[labels]}")
        self._pixels = np.frombuffer(_read(folder, images), np.uint8, offset=16).reshape(-1, SIDE, SIDE)
        self.targets: NDArray[np.int64] = np.frombuffer(_read(folder, labels), np.uint8, offset=8).astype(np.int64)

    def __len__(self) -> int:
        return len(self._pixels)

    def __getitem__(self, index: int) -> tuple[NDArray[np.uint8], int]:
        return self.reader(index)(), int(self.targets[index])

    def reader(self, index: int) -> Reader:
        """Holds the 28 x 28 image."""
        return partial(_enlarged, self._pixels[index])

    def file(self, index: int) -> bytes:
        """The 28 x 28 image as a PNG file."""
        file = io.BytesIO()
        Image.fromarray(self._pixels[index]).save(file, "PNG")
        return file.getvalue()


def _enlarged(pixels: NDArray[np.uint8]) -> NDArray[np.uint8]:
    return preprocess(Image.fromarray(pixels))


def _read(folder: Path, name: str) -> bytes:
    path = folder / f"{name}.gz"
    try:
        data = gzip.decompress(path.read_bytes())
    except FileNotFoundError as error:
        raise DataError(f"{path} is missing: run `python -m training fetch fashion-mnist --output {folder}`") from error
    except (OSError, EOFError, zlib.error) as error:
        raise DataError(f"{path} is damaged ({error}): delete it and fetch it again") from error
    got = sha256_of(data)
    if got != SHA256[name]:
        raise DataError(f"{path} is not Fashion-MNIST: SHA-256 {got[:16]}…, want {SHA256[name][:16]}…: fetch it again")
    return data


def _is_whole(folder: Path, name: str) -> bool:
    try:
        _read(folder, name)
    except DataError:
        return False
    return True


def _from_official(folder: Path, names: list[str]) -> None:
    for name in names:
        with urllib.request.urlopen(f"{OFFICIAL}/{name}.gz", timeout=_TIMEOUT) as answer:
            (folder / f"{name}.gz").write_bytes(answer.read())


def _from_debian(folder: Path, names: list[str]) -> None:
    for command in (["apt-get", "download", DEBIAN_PACKAGE], ["sh", "-c", "dpkg-deb -x *.deb package"]):
        subprocess.run(command, cwd=folder, check=True, capture_output=True, text=True)
    for name in names:
        (found,) = (folder / "package").rglob(f"{name}.gz")
        found.rename(folder / f"{name}.gz")
