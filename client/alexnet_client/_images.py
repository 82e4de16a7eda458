"""What a caller may hand over as an image, and what of it travels."""

from __future__ import annotations

import io
import os
import stat
from collections.abc import Iterable
from typing import Any, BinaryIO, TypeGuard, Union

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from alexnet_client import work
from alexnet_client._errors import InvalidRequest
from alexnet_client.contract import IMAGE, IMAGE_SIDE, LARGE_IMAGE_SECONDS, MAX_ENCODED_BYTES, RESIZE_SIDE
from alexnet_client.preprocess import check_size, decode, preprocess
from alexnet_client.undecodable import UndecodableImage

#: A path; the bytes of an image file, or the file itself, open for reading bytes; a Pillow image; or pixels:
#: ``uint8[H, W, 3]`` (RGB) or ``uint8[H, W]`` (grey). Pixels of exactly ``[224, 224, 3]`` are taken as preprocessed
#: already; grey ones never are, and neither are Pillow images.
ImageLike = Union[
    str, "os.PathLike[str]", bytes, bytearray, memoryview, BinaryIO, Image.Image, NDArray[np.uint8]
]  # fmt: skip

_WANTED = "want a path, the bytes of an image file, a file open for reading bytes, a Pillow image or a uint8 array"


class Unusable(ValueError):
    """What was handed over is no image, or a file that cannot be read."""


def as_list(images: ImageLike | Iterable[ImageLike]) -> list[ImageLike]:
    """One image, or several, as a list; ``uint8[N, H, W, 3]`` is N images.

    Raises:
        InvalidRequest: it is neither.
    """
    if isinstance(images, np.ndarray) and images.ndim in (2, 3):
        return [images]
    if isinstance(images, (str, bytes, bytearray, memoryview, os.PathLike, Image.Image)) or _is_file(images):
        return [images]
    try:
        return list(images)
    except TypeError as error:
        raise InvalidRequest(f"got a {type(images).__name__} for images: {_WANTED}, or several of them") from error


def as_pixels(image: ImageLike) -> NDArray[np.uint8]:
    """An image as the precision models take it, ``uint8[224, 224, 3]``.

    Raises:
        Unusable, UndecodableImage: it cannot be used.
    """
    if isinstance(image, np.ndarray):
        _check_array(image)
        return image if image.shape == IMAGE.shape else preprocess(Image.fromarray(image))
    return preprocess(image) if isinstance(image, Image.Image) else decode(_read(image))


def as_file(image: ImageLike) -> bytes:
    """An image as the ensemble takes it: files as they are, Pillow images and arrays as a PNG of their pixels.

    A large file is decoded here, for the server does so only when nobody else waits, and travels as a PNG, too.

    ``decode(as_file(image))`` is ``as_pixels(image)``, to the bit.

    Raises:
        Unusable, UndecodableImage: it cannot be used.
    """
    if isinstance(image, (np.ndarray, Image.Image)):
        return _png(as_pixels(image))
    data = _read(image)
    check_size(len(data))
    return _png(decode(data)) if work.seconds(data) > LARGE_IMAGE_SECONDS else data


def at_once(images: object, takes_files: bool) -> bool:
    """Whether one image, or each of several, travels as it is: nothing has to be read, decoded or encoded first.

    Args:
        takes_files: whether the model does.
    """
    if isinstance(images, (list, tuple)):
        return all(at_once(image, takes_files) for image in images)
    if isinstance(images, np.ndarray):
        return not takes_files and images.shape[-3:] == IMAGE.shape
    return isinstance(images, bytes) and takes_files and work.seconds(images) <= LARGE_IMAGE_SECONDS


def name(image: object) -> str:
    """The file's name of an image that is a path; others have none."""
    return os.fspath(image) if isinstance(image, (str, os.PathLike)) else ""


def _png(pixels: NDArray[np.uint8]) -> bytes:
    """A file whose preprocessing gives just these pixels: they fill what it crops, so nothing is resized."""
    margin = (RESIZE_SIDE - IMAGE_SIDE) // 2
    file = io.BytesIO()
    Image.fromarray(np.pad(pixels, ((margin, margin), (margin, margin), (0, 0)))).save(file, "PNG", compress_level=1)
    return file.getvalue()


def _read(image: object) -> bytes:
    if isinstance(image, (bytes, bytearray, memoryview)):
        return bytes(image)
    try:
        if isinstance(image, (str, os.PathLike)):
            return _read_path(image)
        data: Any = image.read(MAX_ENCODED_BYTES + 1) if _is_file(image) else None
    except UndecodableImage:  # it says what is wrong
        raise
    except (OSError, ValueError) as error:  # ValueError: a closed file, or a name with a zero byte
        raise Unusable(f"{error}: want an image file that can be read") from error
    if isinstance(data, bytes):
        return data
    if data is None:
        raise Unusable(f"got a {type(image).__name__}: {_WANTED}")
    raise Unusable("got a file that is open for reading text: open it with mode 'rb'")


def _read_path(path: str | os.PathLike[str]) -> bytes:
    """A file that has an end, and that is not too large to be sent: anything else is refused unread."""
    with open(path, "rb", opener=lambda name, flags: os.open(name, flags | os.O_NONBLOCK)) as file:
        status = os.fstat(file.fileno())
        if not stat.S_ISREG(status.st_mode):
            raise Unusable(f"{os.fspath(path)} is no regular file: want an image file")
        check_size(status.st_size)
        return file.read(MAX_ENCODED_BYTES + 1)


def _is_file(image: object) -> TypeGuard[BinaryIO]:
    return callable(getattr(image, "read", None))


def _check_array(array: NDArray[np.uint8]) -> None:
    colours = array.shape[2:] in ((), (3,))
    if array.dtype != np.uint8 or array.ndim not in (2, 3) or not colours or not array.size:
        raise Unusable(
            f"got an array {array.dtype}{list(array.shape)}: want uint8[H, W, 3] (RGB) or uint8[H, W] (grey), not empty"
        )
