"""One request of the KServe v2 protocol: images of a call, the model that is asked, the outputs that are wanted."""

from __future__ import annotations

import struct
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from numbers import Integral
from typing import TypeVar

import numpy as np
from numpy.typing import NDArray
from tritonclient.grpc.service_pb2 import ModelInferRequest

from alexnet_client._errors import InvalidImage, InvalidRequest
from alexnet_client._images import ImageLike, Unusable, as_file, as_pixels, name
from alexnet_client._options import Options
from alexnet_client.contract import ENCODED, IMAGE, MODELS, PROBABILITIES, Tensor
from alexnet_client.preprocess import decode
from alexnet_client.undecodable import UndecodableImage

#: Images a request, however many more the server would take: enough to fill its batches, little enough to be quick.
IMAGES_A_REQUEST = 32
MICROSECONDS = 1_000_000
MAX_TOP_K = 2**31 - 1

_S = TypeVar("_S")
_T = TypeVar("_T")


@dataclass(frozen=True)
class Part:
    """Those of a call's images that travel in one request."""

    #: Place in the call of the first.
    first: int
    images: Sequence[ImageLike]

    @property
    def places(self) -> dict[int, ImageLike]:
        """Place in the call -> image."""
        return dict(enumerate(self.images, self.first))

    @property
    def names(self) -> dict[int, str]:
        """Place in the call -> file's name, of those that have one."""
        return {place: name(image) for place, image in self.places.items() if name(image)}


@dataclass(frozen=True)
class Wanted:
    """An output to answer with."""

    tensor: Tensor
    #: Instead of the numbers, so many of the largest, as ``probability:index:label``.
    class_count: int = 0


def top(count: int) -> Wanted:
    """The most probable classes.

    Raises:
        InvalidRequest: ``count`` is no number of classes.
    """
    if isinstance(count, bool) or not isinstance(count, Integral) or not 1 <= count <= MAX_TOP_K:
        raise InvalidRequest(f"top_k is {count!r}: want a whole number, at least 1")
    return Wanted(PROBABILITIES, int(count))


def parts(images: Sequence[ImageLike]) -> Iterator[Part]:
    """A call's images, request by request."""
    for first in range(0, len(images), IMAGES_A_REQUEST):
        yield Part(first, images[first : first + IMAGES_A_REQUEST])


def build(options: Options, part: Part, outputs: Sequence[Wanted]) -> ModelInferRequest:
    """The request that asks for ``outputs`` of each image of ``part``; they come from one forward pass.

    Raises:
        InvalidImage: images cannot be used; names all of them.
    """
    request = ModelInferRequest(model_name=options.model)
    if options.model in MODELS and MODELS[options.model].takes_files:
        tensor, values = ENCODED, [struct.pack("<I", len(file)) + file for file in _files(part)]
    else:
        tensor, values = IMAGE, [pixels.tobytes() for pixels in _pixels(part)]
        # In the queue. An ensemble has none of its own to wait in; and 0 would be for ever.
        request.parameters["timeout"].int64_param = max(1, int(options.timeout * MICROSECONDS))
    request.inputs.add(name=tensor.name, datatype=tensor.dtype, shape=(len(values), *tensor.shape))
    request.raw_input_contents.append(b"".join(values))
    for wanted in outputs:
        output = request.outputs.add(name=wanted.tensor.name)
        if wanted.class_count:
            output.parameters["classification"].int64_param = wanted.class_count
    return request


def _pixels(part: Part) -> list[NDArray[np.uint8]]:
    pixels, bad = _each(as_pixels, part.places)
    _refuse(bad, part)
    return list(pixels.values())


def _files(part: Part) -> list[bytes]:
    files, bad = _each(as_file, part.places)
    if bad:  # Nothing travels: what the server would have said of the others is found here, by its own code.
        bad |= _each(decode, files)[1]
    _refuse(bad, part)
    return list(files.values())


def _each(make: Callable[[_S], _T], items: Mapping[int, _S]) -> tuple[dict[int, _T], dict[int, Exception]]:
    """What each place's item makes, and the reasons of those that make nothing."""
    made: dict[int, _T] = {}
    bad: dict[int, Exception] = {}
    for place, item in items.items():
        try:
            made[place] = make(item)
        except (UndecodableImage, Unusable) as error:
            bad[place] = error
    return made, bad


def _refuse(bad: Mapping[int, Exception], part: Part) -> None:
    if bad:
        reasons = {place: str(error) for place, error in bad.items()}
        raise InvalidImage(reasons, part.names) from bad[min(bad)]
