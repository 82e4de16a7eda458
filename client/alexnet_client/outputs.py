"""Pixels in, probabilities and embedding out, whatever runtime answers; and which runtime that is.

PyTorch, ONNX Runtime, TensorRT and the served model are all called this way, so one evaluation and one comparison
judge them all.
"""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import asdict, dataclass, field
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from alexnet_client.files import sha256_of


class Outputs(NamedTuple):
    """What one forward pass answers for N images and K classes."""

    probabilities: NDArray[np.float32]  # [N, K], rows sum to one
    embedding: NDArray[np.float32]  # [N, 4096], the penultimate layer after its ReLU


#: ``uint8[N, 224, 224, 3]``, RGB -> :class:`Outputs`.
Predictor = Callable[[NDArray[np.uint8]], Outputs]


@dataclass(frozen=True, slots=True)
class Identity:
    """Which runtime answers, how it is set, and with what: equal ones give equal answers."""

    #: ``pytorch``, ``onnxruntime``, ``tensorrt``...
    name: str
    version: str
    #: SHA-256 of the weights, graph or plan that it has loaded.
    model: str
    device: str = "cpu"
    #: Option -> value, of all that may change an answer.
    options: dict[str, str] = field(default_factory=dict)

    @property
    def key(self) -> str:
        """SHA-256 of all of it: what it answered can be kept under this name."""
        return sha256_of(json.dumps(asdict(self), sort_keys=True))

    def changes(self, now: Identity) -> list[str]:
        """A sentence for each difference between what this was and what is ``now``; none when they are equal."""
        was, has = asdict(self), asdict(now)
        pairs = [(f"{self.name}'s {name}", was[name], has[name]) for name in ("name", "version", "device", "model")]
        pairs += [
            (f"{self.name}'s option {name}", was["options"].get(name, "not set"), has["options"].get(name, "not set"))
            for name in sorted({*self.options, *now.options})
        ]
        return [f"{what} was {before}, is {after}" for what, before, after in pairs if before != after]
