"""What all runtimes share: the error of one that cannot run."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

from alexnet_client.contract import NETWORK_OUTPUTS
from alexnet_client.errors import AlexNetError
from alexnet_client.outputs import Identity, Outputs

#: All that a network answers.
OUTPUTS = tuple(tensor.name for tensor in NETWORK_OUTPUTS)


class RuntimeFailure(AlexNetError):
    """A model that does not load here, or a device that refuses."""


class Runtime(Protocol):
    """A model at work. The same class proves an artefact and serves it."""

    @property
    def identity(self) -> Identity:
        """Which runtime this is, and what it has loaded."""

    def run(self, pixels: NDArray[np.uint8], outputs: Sequence[str] = OUTPUTS) -> dict[str, NDArray[Any]]:
        """``uint8[N, 224, 224, 3]`` -> the outputs that are wanted, by name."""

    def __call__(self, pixels: NDArray[np.uint8]) -> Outputs:
        """As a Predictor."""

    def close(self) -> None:
        """Free what it holds. Again is harmless."""
