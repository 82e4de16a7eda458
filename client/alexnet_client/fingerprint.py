"""Which preprocessing is in force: what was proved with one says nothing about another."""

from __future__ import annotations

from functools import cache
from pathlib import Path

import PIL

from alexnet_client import contract, preprocess
from alexnet_client.files import sha256_of


@cache
def preprocessing_fingerprint() -> str:
    """SHA-256 of everything that makes pixels of a picture: the code, its numbers, and the version of Pillow."""
    numbers = (
        contract.RESIZE_SIDE,
        contract.IMAGE_SIDE,
        contract.CHANNELS,
        contract.PIXEL_ZERO,
        contract.PIXEL_SCALE,
        contract.IMAGE_FORMATS,
    )
    source = Path(preprocess.__file__).read_text(encoding="utf-8")
    return sha256_of(f"{source}\n{numbers}\nPillow {PIL.__version__}")
