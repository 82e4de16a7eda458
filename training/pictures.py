"""The training curve as a picture."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import matplotlib as mpl

from alexnet_client.files import atomic_path
from training.fit.loop import Epoch

mpl.use("Agg")
from matplotlib import pyplot as plt


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
    with atomic_path(path) as partial:
        figure.savefig(partial, format="png", dpi=110)
    plt.close(figure)
