"""The checkpoint: ``model.safetensors`` and ``meta.json``, all that the stages after training need."""

from __future__ import annotations

import json
import subprocess
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from safetensors import SafetensorError
from safetensors.torch import load_file, save_file

from alexnet_client import contract
from alexnet_client.errors import AlexNetError
from alexnet_client.files import atomic_path, sha256
from training.model import AlexNet

WEIGHTS_FILE = "model.safetensors"
META_FILE = "meta.json"
PREPROCESSING = {
    "resize_side": contract.RESIZE_SIDE,
    "image_side": contract.IMAGE_SIDE,
    "pixel_zero": contract.PIXEL_ZERO,
    "pixel_scale": contract.PIXEL_SCALE,
}


class CheckpointError(AlexNetError):
    """A folder that is no checkpoint."""


@dataclass(frozen=True, slots=True)
class Meta:
    """What the weights are. Nothing in it depends on when or how fast they were made."""

    variant: str
    labels: tuple[str, ...]
    #: Every number of the recipe; empty for weights that were imported.
    recipe: dict[str, Any] = field(default_factory=dict)
    #: name, sha256
    dataset: dict[str, str] = field(default_factory=dict)
    #: Percent, on training images held out.
    accuracy: dict[str, float] = field(default_factory=dict)
    preprocessing: dict[str, int] = field(default_factory=lambda: dict(PREPROCESSING))
    git_commit: str = "unknown"


@dataclass(frozen=True, slots=True)
class Checkpoint:
    """Weights in a network, ready to use, and what they are."""

    model: AlexNet
    meta: Meta
    #: Of the weights file.
    sha256: str


def save(folder: Path, model: AlexNet, meta: Meta) -> None:
    """Write a checkpoint; ``meta.json`` comes last, each file appears whole.

    Raises:
        OSError: a file could not be written.
    """
    folder.mkdir(parents=True, exist_ok=True)
    (folder / META_FILE).unlink(missing_ok=True)
    with atomic_path(folder / WEIGHTS_FILE) as partial:
        save_file({name: value.detach().cpu().contiguous() for name, value in model.state_dict().items()}, partial)
    with atomic_path(folder / META_FILE) as partial:
        partial.write_text(json.dumps(asdict(meta), indent=2, sort_keys=True) + "\n")


def load(folder: Path) -> Checkpoint:
    """Load a checkpoint, the model in evaluation mode.

    Raises:
        CheckpointError: a file is missing or damaged, the weights do not fit, or they want another preprocessing.
    """
    try:
        values = json.loads((folder / META_FILE).read_text())
        meta = Meta(**{**values, "labels": tuple(values["labels"])})
        weights = load_file(folder / WEIGHTS_FILE)
        model = AlexNet(meta.variant, classes=len(meta.labels))
        model.load_state_dict(weights)
    except FileNotFoundError as error:
        raise CheckpointError(
            f"{folder} is no checkpoint, {Path(error.filename or WEIGHTS_FILE).name} is missing: "
            f"`python -m training train --output {folder}` writes one"
        ) from error
    except (ValueError, TypeError, KeyError, RuntimeError, SafetensorError) as error:
        raise CheckpointError(
            f"{folder} is a damaged checkpoint ({' '.join(str(error).split())}): train again"
        ) from error
    if meta.preprocessing != PREPROCESSING:
        raise CheckpointError(f"{folder} wants preprocessing {meta.preprocessing}, this release has {PREPROCESSING}")
    return Checkpoint(model.eval(), meta, sha256(folder / WEIGHTS_FILE))


def git_commit() -> str:
    """The commit of this checkout, or ``unknown`` outside one."""
    try:
        answer = subprocess.run(
            ["git", "rev-parse", "HEAD"],
            cwd=Path(__file__).parent,
            capture_output=True,
            text=True,
            check=True,
        )
    except (OSError, subprocess.CalledProcessError):
        return "unknown"
    return answer.stdout.strip()
