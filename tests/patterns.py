"""An image set that needs no data: a few synthetic pictures, each different, in three classes."""

from __future__ import annotations

import io
from functools import partial

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from alexnet_client.files import sha256_of
from alexnet_client.preprocess import preprocess
from training.data.image_set import Reader


class Patterns:
    """See :class:`training.data.image_set.ImageSet`."""

    labels: tuple[str, ...] = ("cat", "dog", "owl")

    def __init__(self, count: int = 40) -> None:
        self.name = "patterns/test"
        self.targets: NDArray[np.int64] = np.arange(count) % len(self.labels)
        self.sha256 = sha256_of(f"patterns {count}")

    def __len__(self) -> int:
        return len(self.targets)

    def __getitem__(self, index: int) -> tuple[NDArray[np.uint8], int]:
        return self.reader(index)(), int(self.targets[index])

    def reader(self, index: int) -> Reader:
        """Holds the number that the picture is drawn from."""
        return partial(_pixels, index)

    def file(self, index: int) -> bytes:
        """The picture as a PNG file."""
        file = io.BytesIO()
        _picture(index).save(file, "PNG")
        return file.getvalue()


def _pixels(index: int) -> NDArray[np.uint8]:
    return preprocess(_picture(index))


def _picture(index: int) -> Image.Image:
    coarse = np.random.default_rng(index).integers(0, 256, (6, 7, 3), np.uint8)
    return Image.fromarray(coarse).resize((70, 60), Image.Resampling.BICUBIC)
