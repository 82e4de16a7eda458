"""The picture of those who only want to know whether a model answers: nobody else has it, so servers know it again.

A chequerboard of any colour and its complement, in the cells that the checksum adds up.
"""

from __future__ import annotations

import io

import numpy as np
from numpy.typing import ArrayLike, NDArray
from PIL import Image

from alexnet_client.contract import CHECKSUM_CELLS, IMAGE_SIDE, RESIZE_SIDE

_CELL, _MARGIN = IMAGE_SIDE // CHECKSUM_CELLS, (RESIZE_SIDE - IMAGE_SIDE) // 2
#: ``uint8[224, 224]``: 1 where the complement is.
_BOARD = np.kron(
    np.indices((CHECKSUM_CELLS, CHECKSUM_CELLS), np.uint8).sum(0) % 2, np.ones((_CELL, _CELL), np.uint8)
).astype(np.uint8)


def chequers(colour: ArrayLike) -> NDArray[np.uint8]:
    """``uint8[3]`` -> ``uint8[224, 224, 3]``, the colour first."""
    return _palette(colour)[_BOARD]


def chequers_file(colour: ArrayLike) -> bytes:
    """A small file whose preprocessing gives just these pixels."""
    image = Image.frombytes("P", (RESIZE_SIDE, RESIZE_SIDE), np.pad(_BOARD, _MARGIN).tobytes())
    image.putpalette(_palette(colour).tobytes())
    file = io.BytesIO()
    image.save(file, "PNG")
    return file.getvalue()


def is_chequers(image: NDArray[np.uint8]) -> bool:
    """Whether ``uint8[224, 224, 3]`` is one, to the pixel."""
    colour = image[0, 0]
    likely = bool((colour ^ image[0, -1] == 255).all())  # which hardly any other is, and is quick to see
    return likely and np.array_equal(image, chequers(colour))


def _palette(colour: ArrayLike) -> NDArray[np.uint8]:
    light = np.asarray(colour, np.uint8)
    return np.stack([light, ~light])
