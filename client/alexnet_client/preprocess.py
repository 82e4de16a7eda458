"""An image file or picture -> ``uint8[224, 224, 3]``: the one implementation, for training, server and client.

Resizing the shorter side to 256 and cropping the central 224 is one resampling of the central 224/256 of the shorter
side, so it is done as one: Pillow's antialiased bilinear filter over that box.
"""

from __future__ import annotations

import io

import numpy as np
from numpy.typing import NDArray
from PIL import ExifTags, Image, UnidentifiedImageError

from alexnet_client import work
from alexnet_client.contract import IMAGE_FORMATS, IMAGE_SIDE, MAX_ENCODED_BYTES, RESIZE_SIDE
from alexnet_client.undecodable import UndecodableImage

#: Transparent pixels show this colour, as on a white page.
BACKGROUND = (255, 255, 255, 255)

#: EXIF's ways to lay an image down -> what raises it.
UPRIGHT = {
    2: Image.Transpose.FLIP_LEFT_RIGHT,
    3: Image.Transpose.ROTATE_180,
    4: Image.Transpose.FLIP_TOP_BOTTOM,
    5: Image.Transpose.TRANSPOSE,
    6: Image.Transpose.ROTATE_270,
    7: Image.Transpose.TRANSVERSE,
    8: Image.Transpose.ROTATE_90,
}
#: PNG's greys of few bits -> what Pillow multiplies them with on reading; the transparent one it leaves as it is.
FEW_BITS = {"L;2": 85, "L;4": 17}


def check_size(size: int) -> None:
    """Refuse a file of so many bytes if it is too large to be sent.

    Raises:
        UndecodableImage: larger than ``MAX_ENCODED_BYTES``.
    """
    if size > MAX_ENCODED_BYTES:
        raise UndecodableImage(
            "too_many_bytes",
            f"got an image file of {size:,} bytes, at most {MAX_ENCODED_BYTES:,} are accepted: "
            f"shrink it first, {RESIZE_SIDE} pixels on the shorter side are enough",
        )


def decode(data: bytes) -> NDArray[np.uint8]:
    """Decode an image file and preprocess it.

    Args:
        data: a JPEG, PNG, WebP or GIF file (first frame), in any colour mode; EXIF rotation is applied.

    Returns:
        ``uint8[224, 224, 3]``, RGB.

    Raises:
        UndecodableImage: empty, larger than ``MAX_ENCODED_BYTES`` or ``MAX_PIXELS`` or too much work (all refused from
            its container, before any pixel is decoded), of another format, or corrupt.
    """
    if not data:
        raise UndecodableImage("empty", f"got an empty image: send the bytes of a {_wanted()} file")
    check_size(len(data))
    work.seconds(data)  # before Pillow's own parsers
    try:
        image = Image.open(io.BytesIO(data), formats=IMAGE_FORMATS)
    except UnidentifiedImageError as error:
        start = data[:8].hex(" ")
        raise UndecodableImage(
            "unknown_format", f"got {len(data):,} bytes that are no {_wanted()} file (they start {start}): send one"
        ) from error
    except Exception as error:  # Pillow's parsers raise whatever the broken header leads them to.
        raise _corrupt(error) from error
    work.check_pixels(*image.size)
    try:
        image.draft("RGB", (RESIZE_SIDE, RESIZE_SIDE))  # JPEG: decode at the smallest scale that is large enough
    except Exception as error:
        raise _corrupt(error) from error
    return preprocess(image)


def preprocess(image: Image.Image) -> NDArray[np.uint8]:
    """Preprocess a Pillow image of any mode and size: upright, RGB, shorter side to 256, central 224.

    Returns:
        ``uint8[224, 224, 3]``.

    Raises:
        UndecodableImage: it has no pixels, they cannot be read, or their values do not say which colours they are.
    """
    try:
        image = _rgb(_upright(_loaded(image)))
        width, height = image.size
        side = min(width, height) * IMAGE_SIDE / RESIZE_SIDE
        if not side:
            raise UndecodableImage("empty", f"got an image of {width} x {height} pixels: want at least 1 x 1")
        left, top = (width - side) / 2, (height - side) / 2
        box = (left, top, left + side, top + side)
        return np.asarray(image.resize((IMAGE_SIDE, IMAGE_SIDE), Image.Resampling.BILINEAR, box=box))
    except UndecodableImage:
        raise
    except Exception as error:  # so do its decoders
        raise _corrupt(error) from error


def _loaded(image: Image.Image) -> Image.Image:
    """The image with its pixels read, and its transparent colour, if any, on their scale."""
    key = image.info.get("transparency")
    stored = next((tile[3] for tile in getattr(image, "tile", ())), None)  # known until the pixels are read
    if isinstance(key, tuple) and (stored == "RGB;16B" or max(key) > 0xFF):
        raise UndecodableImage(
            "unsupported",
            "got a PNG file of 16 bits a sample with one transparent colour, of which only 8 bits can be compared: "
            "save it with 8 bits a sample, or with an alpha channel",
        )
    image.load()
    if stored in FEW_BITS and isinstance(key, int):
        image.info["transparency"] = key * FEW_BITS[stored]
    return image


def _upright(image: Image.Image) -> Image.Image:
    try:
        way = UPRIGHT.get(image.getexif().get(ExifTags.Base.Orientation, 1))
    except Exception:  # Damaged metadata says nothing; the pixels are there.
        return image
    return image if way is None else image.transpose(way)


def _rgb(image: Image.Image) -> Image.Image:
    if image.mode in ("I", "F"):
        raise UndecodableImage(
            "unsupported",
            f"got an image of mode {image.mode}, whose values have no fixed white: scale them to 0..255 and "
            'convert it to mode "L" first',
        )
    if image.mode.startswith("I;16"):
        image = _eight_bits(image)
    if image.mode == "La":  # Pillow converts this one to nothing else
        image = image.convert("LA")
    if image.has_transparency_data:
        image = image.convert("RGBA")
        return Image.alpha_composite(Image.new("RGBA", image.size, BACKGROUND), image).convert("RGB")
    return image.convert("RGB")


def _eight_bits(image: Image.Image) -> Image.Image:
    """A grey image's upper eight bits of sixteen, where Pillow alone would clip; transparency compares all of them."""
    samples = np.asarray(image).astype(np.uint16)
    grey = Image.fromarray((samples >> 8).astype(np.uint8))
    if (key := image.info.get("transparency")) is not None:
        grey.putalpha(Image.fromarray(np.where(samples == key, 0, 0xFF).astype(np.uint8)))
    return grey


def _wanted() -> str:
    return f"{', '.join(IMAGE_FORMATS[:-1])} or {IMAGE_FORMATS[-1]}"


def _corrupt(error: Exception) -> UndecodableImage:
    detail = " ".join(str(error).split()) or type(error).__name__
    return UndecodableImage("corrupt", f"got a truncated or corrupt image ({detail}): send the whole file")
