"""What is sent: requests encoded beforehand, so that sending one costs next to nothing."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from tritonclient.grpc.service_pb2 import ModelInferRequest

from alexnet_client._request import Wanted, requests, takes_files
from alexnet_client.checksum import Expected
from alexnet_client.contract import EMBEDDING, PROBABILITIES
from deploy.loadtest.loadtest_error import WrongUsage

#: What is wanted of each image, by name.
OUTPUTS = {
    "classify": (Wanted(PROBABILITIES, class_count=5),),
    "embed": (Wanted(EMBEDDING),),
    "probabilities": (Wanted(PROBABILITIES),),
    "both": (Wanted(PROBABILITIES), Wanted(EMBEDDING)),
}
#: What a bad file begins like: enough of a JPEG to be taken for one.
BAD = b"\xff\xd8\xff\xe0" + bytes(60)


@dataclass(frozen=True)
class Workload:
    """Distinct requests, and how likely each is to be the next."""

    #: Or several with plus signs between them.
    model: str
    #: Images a request.
    batch: int
    #: Serialised ``ModelInferRequest``; the last is the bad one if ``bad`` is not 0.
    messages: Sequence[bytes]
    #: What the answer to each has to carry.
    expected: Sequence[Expected]
    chances: NDArray[np.float64]
    #: Share of requests that have to be refused.
    bad: float

    def order(self, count: int, seed: int = 0) -> NDArray[np.intp]:
        """Which message each of so many requests sends."""
        return np.random.default_rng(seed).choice(len(self.messages), count, p=self.chances)

    def is_bad(self, order: NDArray[np.intp]) -> NDArray[np.bool_]:
        """Which of those have to be refused."""
        last = len(self.messages) - 1
        return np.equal(order, last if self.bad else -1)


def workload(
    model: str,
    images: Sequence[bytes | NDArray[np.uint8]],
    *,
    batch: int = 1,
    outputs: str = "embed",
    bad: float = 0.0,
    zipf: float = 0.0,
) -> Workload:
    """Encode images as requests.

    Args:
        images: files, or pixels; ``batch`` of them a request.
        outputs: one of :data:`OUTPUTS`.
        bad: share of requests, of those to ``alexnet``, with a file that cannot be decoded.
        zipf: exponent of how much more often the first are sent than the last (Zipf's law); 0 is all alike.

    Raises:
        WrongUsage: that cannot be made.
    """
    if outputs not in OUTPUTS:
        raise WrongUsage(f"outputs is {outputs!r}: want one of {', '.join(OUTPUTS)}")
    if not 0 <= bad < 1:
        raise WrongUsage(f"bad is {bad}: want a share of the requests, from 0 to less than 1")
    if bad and not takes_files(model):
        raise WrongUsage(f"{model} is sent pixels, of which none are bad: want bad=0, or a model that takes files")
    made = [
        _message(model, images[first : first + batch], outputs) for first in range(0, len(images) - batch + 1, batch)
    ]
    if not made:
        raise WrongUsage(f"got {len(images)} images for requests of {batch}: want as many at least")
    chances = np.arange(1, len(made) + 1, dtype=np.float64) ** -zipf
    chances *= (1 - bad) / chances.sum()
    if bad:
        made.append((_spoiled(made[0][0]), Expected()))
        chances = np.append(chances, bad)
    messages, expected = zip(*made, strict=True)
    return Workload(model, batch, messages, expected, chances, bad)


def mixed(first: Workload, second: Workload, share: float) -> Workload:
    """Both, ``share`` of the requests the second's, which has no bad ones and as many images a request.

    Raises:
        WrongUsage: that cannot be made.
    """
    if not 0 < share < 1:
        raise WrongUsage(f"the share of {second.model} is {share:g}: want more than 0 and less than 1")
    chances = np.concatenate((share * second.chances, (1 - share) * first.chances))
    messages = [*second.messages, *first.messages]  # the bad one stays the last
    expected = [*second.expected, *first.expected]
    return Workload(f"{first.model}+{second.model}", first.batch, messages, expected, chances, (1 - share) * first.bad)


def _message(model: str, images: Sequence[bytes | NDArray[np.uint8]], outputs: str) -> tuple[bytes, Expected]:
    made = list(requests(model, images, OUTPUTS[outputs]))
    if len(made) != 1:
        raise WrongUsage(f"{len(images)} images do not fit into one request: want fewer, or smaller ones")
    made[0].message.model_name = model
    return made[0].encode(), made[0].expected


def _spoiled(message: bytes) -> bytes:
    """The same with a first file that nobody can decode."""
    request = ModelInferRequest.FromString(message)
    raw = request.raw_input_contents[0]
    length = int.from_bytes(raw[:4], "little")
    request.raw_input_contents[0] = len(BAD).to_bytes(4, "little") + BAD + raw[4 + length :]
    return bytes(request.SerializeToString())
