"""Whose an answer is: checksums that travel with it, made where it was computed, compared before it is believed.

A backend process that was stopped, or had no processor, may answer late, and Triton then takes its answer for another
request's. No clock can exclude that. So the network answers sums of the pixels that it was given, and the decoder the
CRC-32 of the file and the same sums of what it made of it: whoever asked knows both.
"""

from __future__ import annotations

import zlib
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from alexnet_client.contract import CHANNELS, CHECKSUM, CHECKSUM_CELLS, IMAGE_SIDE

_CELL = IMAGE_SIDE // CHECKSUM_CELLS
_COLUMNS = np.arange(IMAGE_SIDE * CHANNELS)
#: ``float32[672, 12]``: which cell and channel each number of a row of pixels belongs to.
_MEMBERS = np.eye(CHECKSUM_CELLS * CHANNELS, dtype=np.float32)[
    _COLUMNS // (_CELL * CHANNELS) * CHANNELS + _COLUMNS % CHANNELS
]


def checksum(pixels: NDArray[np.uint8]) -> NDArray[np.float32]:
    """``uint8[N, 224, 224, 3]`` -> ``float32[N, 4, 4, 3]``: the sums of each channel in cells of 56 x 56 pixels."""
    rows = pixels.reshape(len(pixels), CHECKSUM_CELLS, _CELL, -1).sum(2, dtype=np.uint16)  # at most 56 x 255
    sums: NDArray[np.float32] = rows.astype(np.float32) @ _MEMBERS
    return sums.reshape(len(pixels), *CHECKSUM.shape)


def file_checksum(files: Sequence[bytes], pixels: NDArray[np.uint8]) -> NDArray[np.uint32]:
    """``uint32[N, 49]``: of each file its CRC-32, and the checksum of what it was decoded to."""
    sums = checksum(pixels).reshape(len(pixels), -1)
    return np.column_stack([[zlib.crc32(file) for file in files], sums]).astype(np.uint32)


@dataclass(frozen=True, slots=True)
class Expected:
    """What an answer has to carry to be believed, of a request's images."""

    #: CRC-32 of each file; None where pixels were sent.
    crcs: tuple[int, ...] | None = None
    #: ``float32[N, 4, 4, 3]``, where they were.
    sums: NDArray[np.float32] | None = None

    @classmethod
    def of_pixels(cls, pixels: NDArray[np.uint8]) -> Expected:
        """Of a request with ``uint8[N, 224, 224, 3]``."""
        return cls(sums=checksum(pixels))

    @classmethod
    def of_files(cls, files: Iterable[bytes]) -> Expected:
        """Of a request with image files."""
        return cls(crcs=tuple(map(zlib.crc32, files)))

    def met_by(self, answered: NDArray[np.float32], decoded: NDArray[np.uint32] | None) -> bool:
        """Whether an answer is to this request.

        Args:
            answered: its ``checksum``.
            decoded: its ``file_checksum``, where files were sent.
        """
        if decoded is None:
            return self.sums is not None and np.array_equal(self.sums, answered)
        sums = answered.reshape(len(answered), -1)
        return np.array_equal(decoded[:, 0], self.crcs or ()) and np.array_equal(decoded[:, 1:], sums)
