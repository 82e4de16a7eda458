"""Predictions: a predictor's outputs for a whole split, kept as one file so that nothing is computed twice."""

from __future__ import annotations

from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from alexnet_client.files import atomic_path, sha256_of
from alexnet_client.fingerprint import preprocessing_fingerprint
from alexnet_client.outputs import Identity, Outputs, Predictor
from training.data.batches import batches
from training.data.image_set import ImageSet

BATCH = 32


def predict(
    predictor: Predictor, images: ImageSet, description: str, batch_size: int = BATCH
) -> tuple[Outputs, NDArray[np.int64]]:
    """Every image of a split through a predictor, in order, with a progress bar.

    Returns:
        the outputs for N images, and their labels ``int64[N]``.
    """
    parts = [predictor(pixels) for pixels, _ in batches(images, batch_size, description=description)]
    return Outputs(*(np.concatenate(column) for column in zip(*parts, strict=True))), images.targets


def predict_key(identity: Identity) -> str:
    """Under which outputs are kept: what answered, and what made the pixels."""
    return sha256_of(f"{identity.key} {preprocessing_fingerprint()}")


def cached(
    folder: Path, key: str, predictor: Predictor, images: ImageSet, description: str, batch_size: int = BATCH
) -> tuple[Outputs, NDArray[np.int64]]:
    """As :func:`predict`, read from ``folder`` when a file for ``key`` is there.

    Args:
        key: of what predicts, :func:`predict_key`; the split's own SHA-256 is added to it.
    """
    path = folder / f"{key[:16]}-{images.sha256[:16]}.npz"
    if not path.is_file():
        outputs, _ = predict(predictor, images, description, batch_size)
        with atomic_path(path) as partial, partial.open("wb") as file:
            np.savez(file, **outputs._asdict())
    with np.load(path) as stored:
        return Outputs(*(stored[name] for name in Outputs._fields)), images.targets
