"""The contract: every tensor name, dtype, shape, model name and preprocessing number, written once.

Training, the exporter, the served models and the client all read it from here. Standard library only, so that
anything may import it.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final


@dataclass(frozen=True, slots=True)
class Tensor:
    """A tensor on the wire. ``dtype`` is Triton's name, ``shape`` leaves the batch out, -1 is any length."""

    name: str
    dtype: str
    shape: tuple[int, ...]


# --- Preprocessing: resize the shorter side, crop the centre, RGB (Krizhevsky et al. 2012, section 2; 224 as in
# "One weird trick", Krizhevsky 2014).
RESIZE_SIDE: Final = 256
IMAGE_SIDE: Final = 224
CHANNELS: Final = 3

# --- Normalisation, inside every graph: (pixel - PIXEL_ZERO) / PIXEL_SCALE. With a zero point and a power of two the
# raw pixels *are* the quantised first activation of the INT8 network.
PIXEL_ZERO: Final = 128
PIXEL_SCALE: Final = 128

# --- What one request may carry.
MAX_BATCH: Final = 128
MAX_ENCODED_BYTES: Final = 20 * 2**20
MAX_PIXELS: Final = 50_000_000
IMAGE_FORMATS: Final = ("JPEG", "PNG", "WEBP", "GIF")

# --- Tensors.
EMBEDDING_LENGTH: Final = 4096
IMAGE: Final = Tensor("image", "UINT8", (IMAGE_SIDE, IMAGE_SIDE, CHANNELS))
ENCODED: Final = Tensor("encoded", "BYTES", (1,))
PROBABILITIES: Final = Tensor("probabilities", "FP32", (-1,))
EMBEDDING: Final = Tensor("embedding", "FP32", (EMBEDDING_LENGTH,))

# --- Models. The precision is the contract; the runtime behind it is not.
PRECISIONS: Final = ("fp32", "fp16", "int8", "fp8")
ENSEMBLE: Final = "alexnet"
DECODER: Final = "alexnet_decode"


def precision_model(precision: str) -> str:
    """The served model of one precision: ``alexnet_fp32``, ``alexnet_fp16``, ``alexnet_int8`` or ``alexnet_fp8``.

    Raises:
        ValueError: ``precision`` is not one of :data:`PRECISIONS`.
    """
    if precision not in PRECISIONS:
        raise ValueError(f"unknown precision {precision!r}: want one of {', '.join(PRECISIONS)}")
    return f"{ENSEMBLE}_{precision}"


PRECISION_MODELS: Final = tuple(precision_model(precision) for precision in PRECISIONS)
SERVED_MODELS: Final = (*PRECISION_MODELS, ENSEMBLE)
