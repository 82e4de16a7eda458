"""An image file or picture -> ``uint8[224, 224, 3]``: the one implementation, for training, server and client.

Resizing the shorter side to 256 and cropping the central 224 is one resampling of the central 224/256 of the shorter
side, so it is done as one: Pillow's antialiased bilinear filter over that box.
"""

from __future__ import annotations

import io

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageOps, UnidentifiedImageError

from alexnet_client.contract import IMAGE_FORMATS, IMAGE_SIDE, MAX_ENCODED_BYTES, MAX_PIXELS, RESIZE_SIDE
from alexnet_client.errors import AlexNetError

#: Transparent pixels show this colour, as on a white page.
BACKGROUND = (255, 255, 255, 255)


class UndecodableImage(AlexNetError, ValueError):
    """An image that cannot be used. ``reason`` is one of :data:`REASONS`, short enough for a metric's label."""

    def __init__(self, reason: str, message: str) -> None:
        super().__init__(message)
        self.reason = reason


REASONS = ("empty", "too_many_bytes", "unknown_format", "too_many_pixels", "corrupt")


def decode(data: bytes) -> NDArray[np.uint8]:
    """Decode an image file and preprocess it.

    Args:
        data: a JPEG, PNG, WebP or GIF file (first frame), in any colour mode; EXIF rotation is applied.

    Returns:
        ``uint8[224, 224, 3]``, RGB.

    Raises:
        UndecodableImage: empty, larger than ``MAX_ENCODED_BYTES`` or ``MAX_PIXELS`` (refused from its header, before
            any pixel is decoded), of another format, or corrupt.
    """
    if not data:
        raise UndecodableImage("empty", f"got an empty image: send the bytes of a {_wanted()} file")
    if len(data) > MAX_ENCODED_BYTES:
        raise UndecodableImage(
            "too_many_bytes",
            f"got an image file of {len(data):,} bytes, at most {MAX_ENCODED_BYTES:,} are accepted: "
            f"shrink it first, {RESIZE_SIDE} pixels on the shorter side are enough",
        )
    try:
        image = Image.open(io.BytesIO(data), formats=IMAGE_FORMATS)
    except UnidentifiedImageError as error:
        start = data[:8].hex(" ")
        raise UndecodableImage(
            "unknown_format", f"got {len(data):,} bytes that are no {_wanted()} file (they start {start}): send one"
        ) from error
    except (Image.DecompressionBombError, Image.DecompressionBombWarning) as error:
        raise _too_many_pixels("more") from error
    except Exception as error:  # Pillow's parsers raise whatever the broken header leads them to.
        raise _corrupt(error) from error
    width, height = image.size
    if width * height > MAX_PIXELS:
        raise _too_many_pixels(f"{width:,} x {height:,}")
    try:
        image.draft("RGB", (RESIZE_SIDE, RESIZE_SIDE))  # JPEG: decode at the smallest scale that is large enough
        return preprocess(image)
    except Exception as error:
        raise _corrupt(error) from error


def preprocess(image: Image.Image) -> NDArray[np.uint8]:
    """Preprocess a Pillow image of any mode and size: upright, RGB, shorter side to 256, central 224.

    Returns:
        ``uint8[224, 224, 3]``.

    Raises:
        ValueError: the image has no pixels, or a mode that has no RGB form.
    """
    image = _rgb(ImageOps.exif_transpose(image))
    width, height = image.size
    side = min(width, height) * IMAGE_SIDE / RESIZE_SIDE
    if not side:
        raise ValueError(f"got an image of {width} x {height} pixels: want at least 1 x 1")
    left, top = (width - side) / 2, (height - side) / 2
    box = (left, top, left + side, top + side)
    return np.asarray(image.resize((IMAGE_SIDE, IMAGE_SIDE), Image.Resampling.BILINEAR, box=box))


def _rgb(image: Image.Image) -> Image.Image:
    if image.mode.startswith("I"):  # 16 bits a sample: keep the upper eight, where Pillow alone would clip
        image = Image.fromarray((np.asarray(image).astype(np.uint32) >> 8).clip(0, 255).astype(np.uint8))
    if image.has_transparency_data:
        image = image.convert("RGBA")
        return Image.alpha_composite(Image.new("RGBA", image.size, BACKGROUND), image).convert("RGB")
    return image.convert("RGB")


def _wanted() -> str:
    return f"{', '.join(IMAGE_FORMATS[:-1])} or {IMAGE_FORMATS[-1]}"


def _too_many_pixels(size: str) -> UndecodableImage:
    return UndecodableImage(
        "too_many_pixels", f"got an image of {size} pixels, at most {MAX_PIXELS:,} are accepted: shrink it first"
    )


def _corrupt(error: Exception) -> UndecodableImage:
    detail = " ".join(str(error).split()) or type(error).__name__
    return UndecodableImage("corrupt", f"got a truncated or corrupt image ({detail}): send the whole file")
