"""The picture of those who only ask: exact in either form, and another one for each colour."""

from __future__ import annotations

import numpy as np

from alexnet_client.checksum import checksum
from alexnet_client.chequers import chequers, chequers_file
from alexnet_client.contract import IMAGE
from alexnet_client.preprocess import decode

COLOURS = np.array([[0, 0, 0], [255, 255, 255], [127, 128, 129], [7, 200, 31]], np.uint8)


def test_a_file_is_decoded_to_the_pixels() -> None:
    for colour in COLOURS:
        pixels = chequers(colour)
        assert (pixels.dtype, pixels.shape) == (np.uint8, IMAGE.shape)
        np.testing.assert_array_equal(decode(chequers_file(colour)), pixels)


def test_neighbouring_cells_are_complements() -> None:
    cells = chequers(COLOURS[3])[28::56, 28::56]
    assert (cells[0, 0] == COLOURS[3]).all()
    assert (cells[:, :-1] + cells[:, 1:] == 255).all()
    assert (cells[:-1] + cells[1:] == 255).all()


def test_the_checksum_tells_colours_apart() -> None:
    shades = np.arange(256, dtype=np.uint8).repeat(3).reshape(256, 3)
    sums = checksum(np.stack([chequers(colour) for colour in shades]))
    assert len(np.unique(sums.reshape(256, -1), axis=0)) == 256
