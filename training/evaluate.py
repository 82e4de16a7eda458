"""Evaluation of any Predictor: top-1, top-5, per class, and the confusion matrix."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from alexnet_client.files import atomic_path

TOP = 5


@dataclass(frozen=True, slots=True)
class Evaluation:
    """Accuracy in percent."""

    top1: float
    top5: float
    images: int
    #: Label -> percent of its images that were recognised; None where there are none.
    per_class: dict[str, float | None]
    #: int64[K, K]: how many images of the row's class were taken for the column's.
    confusion: NDArray[np.int64]


def score(probabilities: NDArray[np.float32], targets: NDArray[np.int64], labels: Sequence[str]) -> Evaluation:
    """Score probabilities ``float32[N, K]`` against targets ``int64[N]``.

    Raises:
        ValueError: no images, or shapes that do not belong together.
    """
    count, classes = len(targets), len(labels)
    if not count or probabilities.shape != (count, classes):
        raise ValueError(f"got probabilities {probabilities.shape}: want ({count}, {classes}), at least one image")
    order = np.argsort(-probabilities, axis=1, kind="stable")[:, :TOP]
    confusion = np.zeros((classes, classes), np.int64)
    np.add.at(confusion, (targets, order[:, 0]), 1)
    return Evaluation(
        top1=float(100 * (order[:, 0] == targets).mean()),
        top5=float(100 * (order == targets[:, None]).any(1).mean()),
        images=count,
        per_class={
            label: float(100 * row[i] / row.sum()) if row.any() else None
            for i, (label, row) in enumerate(zip(labels, confusion, strict=True))
        },
        confusion=confusion,
    )


def write(evaluation: Evaluation, path: Path) -> None:
    """Write the figures as a JSON file, atomically."""
    values = {name: getattr(evaluation, name) for name in ("top1", "top5", "images", "per_class")}
    with atomic_path(path) as partial:
        partial.write_text(json.dumps({**values, "confusion": evaluation.confusion.tolist()}, indent=2) + "\n")
