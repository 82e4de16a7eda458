"""Examples: what an epoch feeds to the network, as features kept in memory or as images decoded on the way."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Protocol

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from training.data.batches import batches
from training.data.image_set import ImageSet
from training.fit.run import Run
from training.model import normalise

#: The paper crops 224 of 256 pixels at random: up to 16 pixels to either side.
SHIFT = 16


class Examples(Protocol):
    """Inputs and targets that can be asked for by number."""

    def __len__(self) -> int:
        """How many."""

    def read(self, order: list[Tensor], generator: torch.Generator) -> Iterator[tuple[Tensor, Tensor]]:
        """Inputs and targets for each batch of numbers; the batches have one size, the last may be smaller.

        Args:
            generator: all that is random is drawn from it, for each example the same in whatever batch it comes.
        """


@dataclass(frozen=True, slots=True)
class Split:
    """Examples to learn from, and examples held out for the curve; of these there may be none."""

    training: Examples
    validation: Examples


class TensorExamples:
    """Inputs that fit into memory."""

    def __init__(self, inputs: Tensor, targets: Tensor) -> None:
        self._inputs = inputs
        self._targets = targets

    def __len__(self) -> int:
        return len(self._targets)

    def read(self, order: list[Tensor], _generator: torch.Generator) -> Iterator[tuple[Tensor, Tensor]]:
        """Inputs and targets for each batch of numbers; nothing is random."""
        for batch in order:
            yield self._inputs[batch].float(), self._targets[batch]


class ImageExamples:
    """Images, decoded ahead, augmented and normalised on the run's device."""

    def __init__(self, images: ImageSet, indices: NDArray[np.int64], run: Run, *, augment: bool) -> None:
        self._images = images
        self._indices = indices
        self._run = run
        self._augment = augment

    def __len__(self) -> int:
        return len(self._indices)

    def read(self, order: list[Tensor], generator: torch.Generator) -> Iterator[tuple[Tensor, Tensor]]:
        """``float32[N, 3, 224, 224]`` on the device and ``int64[N]`` for each batch of numbers."""
        if not order:
            return
        flips = torch.rand(len(self), generator=generator) < 0.5
        shifts = torch.randint(-SHIFT, SHIFT + 1, (len(self), 2), generator=generator)
        numbers = self._indices[torch.cat(order).numpy()]
        decoded = batches(self._images, len(order[0]), numbers, workers=self._run.workers)
        for batch, (pixels, targets) in zip(order, decoded, strict=True):
            inputs = torch.from_numpy(pixels).to(self._run.group.device)
            if self._augment:
                inputs = augment(inputs, flips[batch], shifts[batch])
            yield normalise(inputs), torch.from_numpy(targets)


def augment(images: Tensor, flips: Tensor, shifts: Tensor) -> Tensor:
    """Move and mirror each image of a batch, on the device that the batch is on.

    Args:
        images: any type, ``[N, H, W, C]``.
        flips: ``bool[N]``, whether an image is mirrored left to right.
        shifts: ``int64[N, 2]``, by how many pixels the answer's window starts below and to the right of the image's
            corner before it is mirrored; what lies outside is the image reflected at its edge.
    """
    count, height, width, channels = images.shape
    flips, (down, right) = flips.to(images.device), shifts.to(images.device).unbind(1)
    columns = torch.arange(width, device=images.device)
    columns = torch.where(flips[:, None], width - 1 - columns, columns)
    columns = _reflected(right[:, None] + columns, width)
    rows = _reflected(down[:, None] + torch.arange(height, device=images.device), height)
    first = height * torch.arange(count, device=images.device)
    chosen = (first[:, None] + rows)[:, :, None] * width + columns[:, None, :]
    return images.reshape(-1, channels).index_select(0, chosen.flatten()).reshape(images.shape)


def _reflected(positions: Tensor, length: int) -> Tensor:
    """Positions up to ``length`` outside ``0 ... length - 1``, mirrored at the ends."""
    return length - 1 - (length - 1 - positions.abs()).abs()
