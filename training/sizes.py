"""Sizes: the numbers of a recipe that follow the data, where it says ``auto``."""

from __future__ import annotations

from collections.abc import Mapping
from math import log2, sqrt
from typing import Any

AUTO = "auto"
#: What may be ``auto``.
KEYS = ("components", "validation", "batch_size", "lr")

#: One image in so many is held out, up to a limit.
VALIDATION_SHARE, MOST_VALIDATION = 10, 1000
#: One principal component for so many training images, up to a limit: the last ones are of noise alone.
COMPONENT_SHARE, MOST_COMPONENTS = 2, 512
#: Steps an epoch, within limits of the batch: small ones are noisy, and each costs a pass over all weights.
STEPS, SMALL_BATCH, LARGE_BATCH = 16, 64, 512
#: The rate that suits a small batch; it grows with the root of the batch.
SMALL_BATCH_RATE = 0.05


def follow(values: Mapping[str, Any], images: int) -> dict[str, Any]:
    """A recipe's values, with a number in place of each ``auto``.

    Args:
        images: how many the training split has.
    """

    def chosen(key: str, fitting: float) -> Any:
        return fitting if values[key] == AUTO else values[key]

    validation = chosen("validation", min(images // VALIDATION_SHARE, MOST_VALIDATION))
    left = max(images - validation, 1)
    training = min(values["images"] or left, left)
    components = chosen("components", max(min(training // COMPONENT_SHARE, MOST_COMPONENTS), 1))
    batch = min(max(training / STEPS, SMALL_BATCH), LARGE_BATCH, max(training, 1))
    size = chosen("batch_size", 2 ** int(log2(batch)))  # a power of two: any usual number of devices shares it
    rate = chosen("lr", round(SMALL_BATCH_RATE * sqrt(max(size, 0) / SMALL_BATCH), 4))
    return {**values, "validation": validation, "components": components, "batch_size": size, "lr": rate}
