"""One request of the KServe v2 protocol: images of a call, the model that is asked, the outputs that are wanted."""

from __future__ import annotations

import struct
from collections.abc import Callable, Container, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cache, cached_property
from numbers import Integral
from typing import TYPE_CHECKING, Any, TypeVar

import numpy as np
from tritonclient.grpc.service_pb2 import ModelInferRequest

from alexnet_client import work
from alexnet_client._errors import InvalidImage, InvalidRequest
from alexnet_client._images import ImageLike, Unusable, as_file, as_pixels, name
from alexnet_client.checksum import Expected
from alexnet_client.contract import (
    CHECKSUM,
    ENCODED,
    FILE_CHECKSUM,
    IMAGE,
    LARGE_REQUEST_SECONDS,
    MAX_REQUEST_BYTES,
    MODELS,
    PROBABILITIES,
    Tensor,
)
from alexnet_client.preprocess import decode
from alexnet_client.undecodable import UndecodableImage

if TYPE_CHECKING:
    from alexnet_client._shared_memory import SharedMemory

#: Bytes of a request beside its files, a file; generously.
AROUND = 1024
#: Images a request, however many more the server would take: enough to fill its batches, little enough to be quick.
IMAGES_A_REQUEST = 32
MAX_TOP_K = 2**31 - 1
#: Before each file of several.
_LENGTH = struct.Struct("<I")

_S = TypeVar("_S")
_T = TypeVar("_T")


@dataclass(frozen=True)
class Wanted:
    """An output to answer with."""

    tensor: Tensor
    #: Instead of the numbers, so many of the largest, as ``probability:index:label``.
    class_count: int = 0


@cache
def takes_files(model: str) -> bool:
    """Whether a model is sent files; any other is sent pixels, one that is not ours included."""
    return model in MODELS and MODELS[model].takes_files


def _varint(number: int) -> bytes:
    """Seven bits a byte, the lowest first."""
    made = bytearray()
    while number > 0x7F:
        made.append(number & 0x7F | 0x80)
        number >>= 7
    made.append(number)
    return bytes(made)


#: Before the images and their length: the field they are, which has one (wire type 2).
_IMAGES = _varint(ModelInferRequest.DESCRIPTOR.fields_by_name["raw_input_contents"].number << 3 | 2)


def _parts(images: Iterable[Any], tensor: Tensor) -> Iterator[Any]:
    """Of a tensor's bytes; the binary form of BYTES has each element's length before it."""
    for image in images:
        if tensor is not IMAGE:
            yield _LENGTH.pack(len(image))
        yield np.ascontiguousarray(image) if isinstance(image, np.ndarray) else image


def top(count: int) -> Wanted:
    """The most probable classes.

    Raises:
        InvalidRequest: ``count`` is no number of classes.
    """
    if isinstance(count, bool) or not isinstance(count, Integral) or not 1 <= count <= MAX_TOP_K:
        raise InvalidRequest(f"top_k is {count!r}: want a whole number, at least 1")
    return Wanted(PROBABILITIES, int(count))


class Request:
    """Images of a call that travel together, encoded; they are held once."""

    def __init__(
        self,
        places: Sequence[int],
        files: Sequence[Any],
        tensor: Tensor,
        outputs: Sequence[Wanted],
        names: Mapping[int, str],
        memory: SharedMemory | None = None,
    ) -> None:
        """Encode them.

        Args:
            places: in the call.
            files: of each, what travels: a file, or pixels ``uint8[224, 224, 3]``.
            names: place -> file's name, of those that have one.
            memory: that pixels go through, where there is room.
        """
        self.places, self.names = places, names
        self._tensor, self._outputs = tensor, outputs
        #: As the KServe v2 protocol has it, without model and id, and without the images.
        self.message = ModelInferRequest()
        self.message.inputs.add(name=tensor.name, datatype=tensor.dtype, shape=(len(files), *tensor.shape))
        #: Where the images lie, if the message only says so.
        self.slot = memory.take(files) if memory and tensor is IMAGE else None
        #: What they are put together from, at first; then they are, as they travelled.
        self._parts: list[Any] = []
        if self.slot is not None:
            self.slot.refer(self.message.inputs[0])
        else:
            self._parts = list(_parts(files, tensor))
        for wanted in outputs:
            output = self.message.outputs.add(name=wanted.tensor.name)
            if wanted.class_count:
                output.parameters["classification"].int64_param = wanted.class_count
        for proof in (CHECKSUM,) if tensor is IMAGE else (CHECKSUM, FILE_CHECKSUM):
            self.message.outputs.add(name=proof.name)

    @property
    def waits_in_queue(self) -> bool:
        """Whether its model has a queue that can be told how long; an ensemble has none of its own."""
        return self._tensor is IMAGE

    @cached_property
    def expected(self) -> Expected:
        """What its answer has to carry; to be asked for once it is sent, as that takes a moment."""
        if self._tensor is not IMAGE:
            return Expected.of_files(self._files())
        if self.slot is not None:
            return Expected.of_pixels(self.slot.pixels)
        content = self._parts[0] if len(self._parts) == 1 else b"".join(self._parts)
        return Expected.of_pixels(np.frombuffer(content, np.uint8).reshape(len(self.places), *IMAGE.shape))

    def encode(self) -> bytes:
        """As it travels.

        The images are put behind the message as protobuf would (protobuf.dev/programming-guides/encoding: a message may
        be cut in two between fields), and copied once: protobuf would do so twice more.
        """
        head: bytes = self.message.SerializeToString()
        if not self._parts:
            return head
        size = sum(memoryview(part).nbytes for part in self._parts)
        data = b"".join((head, _IMAGES, _varint(size), *self._parts))
        self._parts = [memoryview(data)[-size:]]
        return data

    def inline(self) -> None:
        """Carry what the message has only named."""
        if self.slot is not None and not self._parts:
            self.message.inputs[0].ClearField("parameters")
            self._parts = [self.slot.pixels.tobytes()]

    def without(self, places: Container[int]) -> Request:
        """The same, less some of its images."""
        self.inline()
        kept = [(place, file) for place, file in zip(self.places, self._files(), strict=True) if place not in places]
        return Request(
            [place for place, _ in kept], [file for _, file in kept], self._tensor, self._outputs, self.names
        )

    def _files(self) -> Iterator[bytes]:
        content = b"".join(self._parts)
        if self._tensor is IMAGE:
            size = len(content) // len(self.places)
            yield from (content[start : start + size] for start in range(0, len(content), size))
            return
        start = 0
        while start < len(content):
            start, size = start + _LENGTH.size, _LENGTH.unpack_from(content, start)[0]
            yield content[start : start + size]
            start += size


def requests(
    model: str,
    images: Sequence[ImageLike],
    outputs: Sequence[Wanted],
    check: Callable[[], None] = lambda: None,
    refused: dict[int, InvalidImage] | None = None,
    first: int = 0,
    memory: SharedMemory | None = None,
) -> Iterator[Request]:
    """A call's images, request by request.

    Args:
        check: called before each image is encoded, which may take a while; may raise.
        refused: gets those that cannot be used, place -> why, and the others travel without them.
        first: place of the first image.
        memory: that pixels go through, where there is room.

    Raises:
        InvalidImage: images cannot be used, and ``refused`` is None; names all those of a request.
    """
    files = takes_files(model)
    encode: Callable[[ImageLike], Any] = as_file if files else as_pixels
    for start in range(0, len(images), IMAGES_A_REQUEST):
        part = dict(enumerate(images[start : start + IMAGES_A_REQUEST], first + start))
        values, bad = _each(encode, part, check)
        names = {place: called for place, image in part.items() if (called := name(image))}
        if bad and refused is None:
            if files:  # Nothing travels: what the server would have said of the others is found here, by its code.
                bad |= _each(decode, values, check)[1]
            raise InvalidImage({place: str(error) for place, error in bad.items()}, names) from bad[min(bad)]
        for place, error in bad.items():
            assert refused is not None
            refused[place] = InvalidImage({place: str(error)}, names)
        tensor = ENCODED if files else IMAGE
        for run in list(_runs(values)) if files else [list(values)]:
            yield Request(run, [values.pop(place) for place in run], tensor, outputs, names, memory)


def _runs(files: Mapping[int, bytes]) -> Iterator[list[int]]:
    """As many neighbours as may travel together, by bytes and by work."""
    run: list[int] = []
    size, seconds = 0, 0.0
    for place, file in files.items():
        its_size, its_seconds = len(file) + AROUND, work.seconds(file)
        if run and (size + its_size > MAX_REQUEST_BYTES or seconds + its_seconds > LARGE_REQUEST_SECONDS):
            yield run
            run, size, seconds = [], 0, 0.0
        run.append(place)
        size, seconds = size + its_size, seconds + its_seconds
    if run:
        yield run


def _each(
    make: Callable[[_S], _T], items: Mapping[int, _S], check: Callable[[], None]
) -> tuple[dict[int, _T], dict[int, Exception]]:
    """What each place's item makes, and the reasons of those that make nothing."""
    made: dict[int, _T] = {}
    bad: dict[int, Exception] = {}
    for place, item in items.items():
        check()
        try:
            made[place] = make(item)
        except (UndecodableImage, Unusable) as error:
            bad[place] = error
    return made, bad
