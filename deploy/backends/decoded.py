"""What became of an image file: its pixels or the reason why not, and the seconds that it took."""

from __future__ import annotations

import time
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from alexnet_client.preprocess import decode
from alexnet_client.undecodable import UndecodableImage


class Decoded(NamedTuple):
    """A result; either ``pixels`` or ``error`` is there."""

    #: ``uint8[224, 224, 3]``.
    pixels: NDArray[np.uint8] | None
    error: UndecodableImage | None
    seconds: float


def timed_decode(file: bytes) -> Decoded:
    """Decode one image file."""
    started = time.perf_counter()
    try:
        return Decoded(decode(file), None, time.perf_counter() - started)
    except UndecodableImage as error:
        return Decoded(None, error, time.perf_counter() - started)
