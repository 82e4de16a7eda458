"""Images with labels: what every data set looks like to the stages after it."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from alexnet_client.errors import AlexNetError


class DataError(AlexNetError):
    """A data set that is missing, damaged or not to be had."""


class ImageSet(Protocol):
    """One split of a data set."""

    name: str
    #: The class names, in the order of the labels.
    labels: tuple[str, ...]
    #: int64[N], the label of each image.
    targets: NDArray[np.int64]
    #: Of the data it was read from.
    sha256: str

    def __len__(self) -> int:
        """How many images."""

    def __getitem__(self, index: int) -> tuple[NDArray[np.uint8], int]:
        """Image ``index``, preprocessed, ``uint8[224, 224, 3]``, and its label."""

    def file(self, index: int) -> bytes:
        """Image ``index`` as a file, as a user would send it."""


def check_labels(images: ImageSet, labels: Sequence[str], whose: Path) -> None:
    """Check that a data set's classes are those that a network knows, in the same order.

    Raises:
        DataError: they are others; shows both.
    """
    if tuple(images.labels) != tuple(labels):
        raise DataError(
            f"{whose} knows the classes {_some(labels)}, {images.name} has {_some(images.labels)}: "
            "want the same ones, give --data"
        )


def _some(labels: Sequence[str]) -> str:
    return ", ".join(labels[:3]) + (f"... ({len(labels):,})" if len(labels) > 3 else "")
