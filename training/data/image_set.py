"""Images with labels: what every data set looks like to the stages after it."""

from __future__ import annotations

from collections.abc import Callable
from typing import Protocol, TypeAlias

import numpy as np
from numpy.typing import NDArray

from alexnet_client.errors import AlexNetError


class DataError(AlexNetError):
    """A data set that is missing, damaged or not to be had."""


#: Gives the pixels of one image, ``uint8[224, 224, 3]``. It is small, and can be sent to another process.
Reader: TypeAlias = Callable[[], NDArray[np.uint8]]


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

    def reader(self, index: int) -> Reader:
        """What reads image ``index``, here or in a worker.

        Calling it raises :class:`DataError` or :class:`alexnet_client.errors.FileError`: the image cannot be read.
        """

    def file(self, index: int) -> bytes:
        """Image ``index`` as a file, as a user would send it."""
