"""What a batch takes: a part for the batch, and one for each image in it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from deploy.sizing.sizing_error import SizingError


@dataclass(frozen=True)
class Service:
    """Seconds of one batch on one replica. A request has one image."""

    #: Whatever is in it, and each image beside that.
    batch: float
    image: float
    #: Images in a batch, at most.
    largest: int

    def __post_init__(self) -> None:
        if self.batch < 0 or self.image < 0 or self.batch + self.image == 0 or self.largest < 1:
            raise SizingError(f"got {self}: want seconds from 0 on, not both 0, and batches of 1 at least")

    def seconds(self, images: NDArray[np.float64] | float) -> NDArray[np.float64] | float:
        """Of a batch of so many images."""
        return self.batch + self.image * images

    @property
    def capacity(self) -> float:
        """Images a second in full batches, which no queue ever reaches."""
        return self.largest / float(self.seconds(self.largest))


def fitted(points: Mapping[int, float], largest: int) -> Service:
    """The straight line nearest to measured seconds by batch size (least squares), neither part below 0.

    Raises:
        SizingError: there are no two sizes.
    """
    if len(points) < 2 or min(points) < 1 or min(points.values()) <= 0:
        raise SizingError(f"got service times {dict(points)}: want seconds above 0 of two batch sizes at least")
    sizes, seconds = np.array(list(points), np.float64), np.array(list(points.values()), np.float64)
    image, batch = np.polyfit(sizes, seconds, 1)
    if image < 0:
        return Service(float(seconds.mean()), 0.0, largest)
    if batch < 0:
        return Service(0.0, float((sizes * seconds).sum() / (sizes**2).sum()), largest)
    return Service(float(batch), float(image), largest)
