"""LoadGen's samples (its QSL): images that it has loaded before it asks for them."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from alexnet_client._request import takes_files

if TYPE_CHECKING:
    from training.data.image_set import ImageSet

#: A file, or pixels ``uint8[224, 224, 3]``.
Image = bytes | NDArray[np.uint8]
#: Samples that are in memory at once: 38 MB of pixels.
LOADED = 256


@dataclass(frozen=True)
class Split:
    """A split of a data set as a model is sent it."""

    images: ImageSet
    model: str

    def __len__(self) -> int:
        return len(self.images)

    def __getitem__(self, index: int) -> Image:
        return self.images.file(index) if takes_files(self.model) else self.images[index][0]


class SampleLibrary:
    """What LoadGen tells to load and to forget; reading and preprocessing are not part of what it times."""

    def __init__(self, images: Split | Sequence[Image]) -> None:
        self._images = images
        self._loaded: dict[int, Image] = {}

    @property
    def total(self) -> int:
        """How many there are."""
        return len(self._images)

    @property
    def fitting(self) -> int:
        """How many may be loaded at once."""
        return min(LOADED, len(self._images))

    def load(self, indices: Sequence[int]) -> None:
        """Read them."""
        self._loaded.update((index, self._images[index]) for index in indices)

    def unload(self, indices: Sequence[int]) -> None:
        """Forget them."""
        for index in indices:
            self._loaded.pop(index, None)

    def __getitem__(self, index: int) -> Image:
        """One that is loaded."""
        return self._loaded[index]
