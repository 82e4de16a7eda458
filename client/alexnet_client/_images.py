"""What a caller may hand over as an image, and what of it travels."""

from __future__ import annotations

import io
import os
from collections.abc import Iterable
from pathlib import Path
from typing import Union

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from alexnet_client._errors import InvalidImage
from alexnet_client.contract import IMAGE
from alexnet_client.preprocess import UndecodableImage, decode, preprocess

#: A path, the bytes of an image file, a Pillow image, or pixels: ``uint8[H, W, 3]`` (RGB) or ``uint8[H, W]`` (grey).
#: Pixels of exactly ``[224, 224, 3]`` are taken as preprocessed already.
ImageLike = Union[str, "os.PathLike[str]", bytes, Image.Image, NDArray[np.uint8]]


def as_list(images: ImageLike | Iterable[ImageLike]) -> list[ImageLike]:
    """One image, or several, as a list; ``uint8[N, H, W, 3]`` is N images."""
    if isinstance(images, (str, bytes, os.PathLike, Image.Image)):
        return [images]
    if isinstance(images, np.ndarray) and images.ndim in (2, 3):
        return [images]
    return list(images)


def as_pixels(image: ImageLike, index: int) -> NDArray[np.uint8]:
    """An image as the precision models take it, ``uint8[224, 224, 3]``.

    Raises:
        InvalidImage: it cannot be used; names its place.
    """
    try:
        if isinstance(image, np.ndarray):
            _check_array(image)
            return image if image.shape == IMAGE.shape else preprocess(Image.fromarray(image))
        if isinstance(image, Image.Image):
            return preprocess(image)
        return decode(_read(image))
    except (UndecodableImage, ValueError, TypeError, OSError) as error:
        raise InvalidImage(f"image {index}{_name(image)}: {error}", index) from error


def as_file(image: ImageLike, index: int) -> bytes:
    """An image as the ensemble takes it: files as they are, Pillow images and pixels as PNG.

    Raises:
        InvalidImage: it cannot be sent; names its place.
    """
    try:
        if isinstance(image, np.ndarray):
            _check_array(image)
            if image.shape == IMAGE.shape:
                raise ValueError(
                    f"got pixels of shape {list(image.shape)}, which are preprocessed already, for a model that "
                    "preprocesses: use alexnet_int8, alexnet_fp16 or alexnet_fp32"
                )
            image = Image.fromarray(image)
        if isinstance(image, Image.Image):
            file = io.BytesIO()
            image.save(file, "PNG")
            return file.getvalue()
        return _read(image)
    except (ValueError, TypeError, OSError) as error:
        raise InvalidImage(f"image {index}{_name(image)}: {error}", index) from error


def _read(image: object) -> bytes:
    if isinstance(image, bytes):
        return image
    if isinstance(image, (str, os.PathLike)):
        return Path(image).read_bytes()
    raise TypeError(f"got a {type(image).__name__}: want a path, bytes, a Pillow image or a uint8 array")


def _name(image: object) -> str:
    return f" ({os.fspath(image)})" if isinstance(image, (str, os.PathLike)) else ""


def _check_array(array: NDArray[np.uint8]) -> None:
    colours = array.shape[2:] in ((), (3,))
    if array.dtype != np.uint8 or array.ndim not in (2, 3) or not colours or not array.size:
        raise ValueError(
            f"got an array {array.dtype}{list(array.shape)}: want uint8[H, W, 3] (RGB) or uint8[H, W] (grey), not empty"
        )
