"""The pictures: a training's curve, an evaluation's confusion matrix."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import matplotlib as mpl
import numpy as np

from alexnet_client.files import atomic_path
from training.evaluate import Evaluation
from training.fit.loop import Epoch

mpl.use("Agg")
from matplotlib import pyplot as plt
from matplotlib.figure import Figure

DPI = 110
#: More classes than this make an unreadable table: the picture shows shades only.
READABLE = 20


def draw_curve(history: Sequence[Epoch], path: Path) -> None:
    """Draw loss and accuracy of training and validation by epoch as a PNG file, atomically."""
    epochs = [epoch.epoch for epoch in history]
    figure, axes = plt.subplots(1, 2, figsize=(9, 3.6))
    for axis, name, title in ((axes[0], "loss", "cross-entropy"), (axes[1], "accuracy", "top-1 accuracy, %")):
        axis.plot(epochs, [getattr(epoch, name) for epoch in history], "o-", label="training (with dropout)")
        held_out = [getattr(epoch, f"validation_{name}") for epoch in history]
        if None not in held_out:
            axis.plot(epochs, held_out, "s-", label="validation (held-out training images)")
        axis.set(title=title, xlabel="epoch", xticks=epochs[:: max(1, len(epochs) // 10)])
        axis.grid(alpha=0.3)
        axis.legend(fontsize=8)
    figure.tight_layout()
    _save(figure, path)


def draw_confusion(evaluation: Evaluation, path: Path) -> None:
    """Draw the confusion matrix as a PNG file, atomically."""
    labels, confusion = list(evaluation.per_class), evaluation.confusion
    shares = confusion / np.maximum(confusion.sum(1, keepdims=True), 1)
    figure, axis = plt.subplots(figsize=(7.5, 6.5))
    shown = axis.imshow(shares, cmap="Blues", vmin=0, vmax=1)
    figure.colorbar(shown, label="share of the class's images")
    axis.set(title=f"top-1 {evaluation.top1:.2f} % of {evaluation.images:,} images", xlabel="taken for", ylabel="is")
    if len(labels) <= READABLE:
        axis.set_xticks(range(len(labels)), labels, rotation=45, ha="right")
        axis.set_yticks(range(len(labels)), labels)
        for (row, column), number in np.ndenumerate(confusion):
            shade = "white" if shares[row, column] > 0.5 else "black"
            axis.text(column, row, str(number), ha="center", va="center", fontsize=7, color=shade)
    figure.tight_layout()
    _save(figure, path)


def _save(figure: Figure, path: Path) -> None:
    with atomic_path(path) as partial:
        figure.savefig(partial, format="png", dpi=DPI)
    plt.close(figure)
