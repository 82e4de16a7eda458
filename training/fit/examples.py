"""Examples: what an epoch feeds to the network, as features kept in memory or as images decoded on the way."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Protocol

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.nn import functional as F

from training.data.batches import batches
from training.data.image_set import ImageSet
from training.model import normalise

#: The paper crops 224 of 256 pixels at random: up to 16 pixels to either side.
SHIFT = 16


class Examples(Protocol):
    """Inputs and targets that can be asked for by number."""

    def __len__(self) -> int:
        """How many."""

    def read(self, order: list[Tensor]) -> Iterator[tuple[Tensor, Tensor]]:
        """Inputs and targets for each batch of numbers; the batches have one size, the last may be smaller."""


class TensorExamples:
    """Inputs that fit into memory."""

    def __init__(self, inputs: Tensor, targets: Tensor) -> None:
        self._inputs = inputs
        self._targets = targets

    def __len__(self) -> int:
        return len(self._targets)

    def read(self, order: list[Tensor]) -> Iterator[tuple[Tensor, Tensor]]:
        """Inputs and targets for each batch of numbers."""
        for batch in order:
            yield self._inputs[batch].float(), self._targets[batch]


class ImageExamples:
    """Images, decoded ahead, normalised, augmented with the global generator of torch."""

    def __init__(self, images: ImageSet, indices: NDArray[np.int64], augment: bool) -> None:
        self._images = images
        self._indices = indices
        self._augment = augment

    def __len__(self) -> int:
        return len(self._indices)

    def read(self, order: list[Tensor]) -> Iterator[tuple[Tensor, Tensor]]:
        """``float32[N, 3, 224, 224]`` and ``int64[N]`` for each batch of numbers."""
        if not order:
            return
        numbers = self._indices[torch.cat(order).numpy()]
        for pixels, targets in batches(self._images, len(order[0]), numbers):
            inputs = normalise(torch.from_numpy(pixels))
            yield augment(inputs) if self._augment else inputs, torch.from_numpy(targets)


def augment(images: Tensor) -> Tensor:
    """Flip each of ``float[N, C, H, W]`` with probability one half and shift it by up to 16 pixels, edges reflected."""
    count, _, height, width = images.shape
    padded = F.pad(images, (SHIFT,) * 4, mode="reflect")
    flips = torch.rand(count) < 0.5
    shifts = torch.randint(0, 2 * SHIFT + 1, (count, 2))
    parts = [
        image[:, top : top + height, left : left + width]
        for image, (top, left) in zip(padded, shifts.tolist(), strict=True)
    ]
    return torch.stack([part.flip(-1) if flip else part for part, flip in zip(parts, flips, strict=True)])
