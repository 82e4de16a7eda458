"""What a server answers, read into what a caller wants."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray
from tritonclient.grpc.service_pb2 import ModelInferResponse
from tritonclient.utils import deserialize_bytes_tensor

from alexnet_client._errors import InvalidImage, ServerError
from alexnet_client._images import ImageLike
from alexnet_client.checksum import Expected
from alexnet_client.contract import CHECKSUM, EMBEDDING, FILE_CHECKSUM, PROBABILITIES, Tensor
from alexnet_client.outputs import Outputs


@dataclass(frozen=True)
class Prediction:
    """A class and its probability. Where the server has no labels, ``label`` is the index."""

    label: str
    index: int
    probability: float


class PredictionsAndEmbedding(NamedTuple):
    """What ``classify`` and ``embed`` answer, from one forward pass."""

    #: Of each image, the most probable first.
    predictions: list[list[Prediction]]
    embedding: NDArray[np.float32]  # [N, 4096]


@dataclass(frozen=True)
class Health:
    """What a server says of itself, and which of AlexNet's models it serves."""

    live: bool
    ready: bool
    server: str
    version: str
    #: Of them, those that it calls ready.
    models: tuple[str, ...]
    #: Of those, the ones that answered an inference; None if they were not asked. Triton's own flags stay true when the
    #: process of a model is dead.
    answered: tuple[str, ...] | None = None

    @property
    def ok(self) -> bool:
        """Whether it serves: ready, with a model, and each that was asked has answered."""
        return self.ready and bool(self.models) and self.answered in (None, self.models)


@dataclass(frozen=True)
class ModelState:
    """What a server says of one of its models."""

    name: str
    version: str
    #: ``READY``, ``LOADING``, ``UNAVAILABLE``...
    state: str
    #: Why it is not ready.
    reason: str = ""


@dataclass(frozen=True)
class TensorMetadata:
    """A tensor as the server names it; -1 is any length."""

    name: str
    dtype: str
    shape: tuple[int, ...]


@dataclass(frozen=True)
class ModelMetadata:
    """A model's inputs and outputs, as the server has them."""

    name: str
    versions: tuple[str, ...]
    inputs: tuple[TensorMetadata, ...]
    outputs: tuple[TensorMetadata, ...]


#: Of the contract's outputs, as they travel.
DTYPES = {"FP32": np.float32, "UINT32": np.uint32}


class Answered(NamedTuple):
    """A response, which has a row for each image of its request."""

    #: Of the images, in the call.
    places: Sequence[int]
    response: ModelInferResponse


@dataclass(frozen=True)
class Answer:
    """Of one image of a stream: what was asked for, or why there is none."""

    #: In the stream, from 0.
    place: int
    image: ImageLike
    #: The most probable first, if ``top_k`` was given.
    predictions: list[Prediction] | None = None
    #: ``float32[4096]``, if ``embed`` was.
    embedding: NDArray[np.float32] | None = None
    #: Why this image cannot be used.
    error: InvalidImage | None = None
    #: Of the model that answered; empty where none did.
    version: str = ""


def predictions(answers: Sequence[Answered]) -> list[list[Prediction]]:
    """The classes of each image, in the call's order.

    Raises:
        ServerError: an answer has not the form that was asked for.
    """
    return [[_prediction(text) for text in row] for answer in answers for row in tensor(answer.response, PROBABILITIES)]


def embedding(answers: Sequence[Answered]) -> NDArray[np.float32]:
    """The embedding of each image, ``float32[N, 4096]``.

    Raises:
        ServerError: as :func:`predictions`.
    """
    rows = [tensor(answer.response, EMBEDDING) for answer in answers]
    return np.concatenate(rows) if rows else np.empty((0, *EMBEDDING.shape), np.float32)


def outputs(answers: Sequence[Answered]) -> Outputs:
    """All probabilities, ``float32[N, K]``, and the embedding; without an image K is 0.

    Raises:
        ServerError: as :func:`predictions`.
    """
    rows = [tensor(answer.response, PROBABILITIES) for answer in answers]
    return Outputs(np.concatenate(rows) if rows else np.empty((0, 0), np.float32), embedding(answers))


def one_by_one(
    answered: Sequence[Answered], images: Mapping[int, ImageLike], refused: Mapping[int, InvalidImage]
) -> list[Answer]:
    """Of each of some images of a stream, in their order.

    Args:
        answered: of those that were not refused.
        images: place -> image.
        refused: place -> why.

    Raises:
        ServerError: as :func:`predictions`.
    """
    answers = {place: Answer(place, images[place], error=error) for place, error in refused.items()}
    for each in answered:
        names = {output.name for output in each.response.outputs}
        classes = predictions([each]) if PROBABILITIES.name in names else None
        vectors = embedding([each]) if EMBEDDING.name in names else None
        for row, place in enumerate(each.places):
            answers[place] = Answer(
                place,
                images[place],
                None if classes is None else classes[row],
                # A copy: whoever keeps one vector need not keep those that came with it.
                None if vectors is None else vectors[row].copy(),
                version=each.response.model_version,
            )
    return [answers[place] for place in sorted(answers)]


def belongs_to(answer: ModelInferResponse, expected: Expected, images: int) -> bool:
    """Whether an answer is to the request that it came for: each output has its rows, and it carries its checksum.

    Raises:
        ServerError: it carries none.
    """
    if any(output.shape[:1] != [images] for output in answer.outputs):
        return False
    try:
        sums = tensor(answer, CHECKSUM)
        return expected.met_by(sums, None if expected.crcs is None else tensor(answer, FILE_CHECKSUM))
    except ValueError:  # bytes that do not fit their own shape
        return False


def tensor(answer: ModelInferResponse, wanted: Tensor) -> NDArray[Any]:
    """An output by its name, as outputs come in any order.

    Raises:
        ServerError: there is none of that name.
        ValueError: its bytes do not fit its shape.
    """
    for output, data in zip(answer.outputs, answer.raw_output_contents, strict=True):
        if output.name == wanted.name:
            numbers = output.datatype in DTYPES
            array = np.frombuffer(data, DTYPES[output.datatype]) if numbers else deserialize_bytes_tensor(data)
            return array.reshape(tuple(output.shape))
    names = ", ".join(output.name for output in answer.outputs) or "nothing"
    raise ServerError(f"{answer.model_name} answered {names} where {wanted.name} was asked for: is it an AlexNet?")


def _prediction(text: bytes) -> Prediction:
    """Triton's classification extension answers ``probability:index:label``."""
    probability, index, *label = text.decode().split(":", 2)
    return Prediction(label[0] if label else index, int(index), float(probability))
