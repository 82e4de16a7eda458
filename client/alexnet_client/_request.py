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

from alexnet_client import work
from alexnet_client._errors import InvalidImage, InvalidRequest
from alexnet_client._images import ImageLike, Unusable, as_file, as_pixels, name
from alexnet_client._options import Options
from alexnet_client.contract import (
    ENCODED,
    IMAGE,
    LARGE_REQUEST_SECONDS,
    MAX_REQUEST_BYTES,
    MODELS,
    PROBABILITIES,
    Tensor,
)
from alexnet_client.preprocess import decode
from alexnet_client.undecodable import UndecodableImage

#: Bytes of a request beside its files, a file; generously.
AROUND = 1024
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


def requests(
    options: Options, images: Sequence[ImageLike], outputs: Sequence[Wanted]
) -> Iterator[tuple[Part, ModelInferRequest]]:
    """A call's images, request by request.

    Raises:
        InvalidImage: images cannot be used; names all those of a part.
    """
    for first in range(0, len(images), IMAGES_A_REQUEST):
        yield from build(options, Part(first, images[first : first + IMAGES_A_REQUEST]), outputs)


def build(options: Options, part: Part, outputs: Sequence[Wanted]) -> Iterator[tuple[Part, ModelInferRequest]]:
    """The requests that ask for ``outputs`` of each image of ``part``; they come from one forward pass.

    One, but where files are so many bytes, or so much work, that the contract wants them apart.

    Raises:
        InvalidImage: images cannot be used; names all of them.
    """
    if options.model in MODELS and MODELS[options.model].takes_files:
        files = _files(part)
        for run in _runs(files):
            values = [struct.pack("<I", len(file)) + file for file in files[run]]
            yield Part(part.first + run.start, part.images[run]), _request(options, ENCODED, values, outputs)
    else:
        yield part, _request(options, IMAGE, [pixels.tobytes() for pixels in _pixels(part)], outputs)


def _runs(files: Sequence[bytes]) -> Iterator[slice]:
    """As many neighbours as may travel together."""
    first, size, seconds = 0, 0, 0.0
    for place, file in enumerate(files):
        its_size, its_seconds = len(file) + AROUND, work.seconds(file)
        if place > first and (size + its_size > MAX_REQUEST_BYTES or seconds + its_seconds > LARGE_REQUEST_SECONDS):
            yield slice(first, place)
            first, size, seconds = place, 0, 0.0
        size, seconds = size + its_size, seconds + its_seconds
    yield slice(first, len(files))


def _request(options: Options, tensor: Tensor, values: Sequence[bytes], outputs: Sequence[Wanted]) -> ModelInferRequest:
    request = ModelInferRequest(model_name=options.model)
    if tensor is IMAGE:
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
