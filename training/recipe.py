"""The recipe: every number of a training run, in one small TOML file; `training/README.md` has its keys."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, get_type_hints

import tomllib
import torch

from alexnet_client.errors import AlexNetError
from training import sizes
from training.model import VARIANTS

FOLDER = Path(__file__).parent / "recipes"
SCHEDULES = ("one_cycle", "cosine")
PRECISIONS = ("auto", "fp32", "bf16")


class RecipeError(AlexNetError):
    """A recipe that is missing, or says something it may not."""


@dataclass(frozen=True, slots=True)
class Recipe:
    """A training run. Rates are per step, ``batch_size`` is over all processes together."""

    variant: str
    #: ``scratch``, ``imagenet-convolutions``, or a path to weights in torchvision's format.
    start: str
    #: Keep the convolutions as they are, and train the dense layers on their cached features.
    freeze: bool
    #: Principal components in which the first dense layer is trained; 0 trains it on the features themselves.
    components: int
    #: Training images, 0 for all of the split that validation leaves.
    images: int
    #: Training images held out for the curve; the test split is never touched here.
    validation: int
    epochs: int
    batch_size: int
    lr: float
    momentum: float
    weight_decay: float
    schedule: str
    label_smoothing: float
    dropout: float
    #: Random flips and shifts of the training images.
    augment: bool
    precision: str
    seed: int

    def __post_init__(self) -> None:
        """Check the values.

        Raises:
            RecipeError: some are out of their range; names all of them.
        """
        problems = []
        for name, allowed in (("variant", VARIANTS), ("schedule", SCHEDULES), ("precision", PRECISIONS)):
            if getattr(self, name) not in allowed:
                problems.append(f"{name} is {getattr(self, name)!r}: want one of {', '.join(allowed)}")
        for name in ("epochs", "batch_size", "images", "validation", "components", "seed"):
            least = int(name in ("epochs", "batch_size"))
            if getattr(self, name) < least:
                problems.append(f"{name} is {getattr(self, name)}: want at least {least}")
        for name in ("dropout", "momentum", "label_smoothing"):
            if not 0 <= getattr(self, name) < 1:
                problems.append(f"{name} is {getattr(self, name)}: want at least 0 and less than 1")
        if not 0 < self.lr < float("inf") or not 0 <= self.weight_decay < float("inf"):
            problems.append(f"lr is {self.lr}, weight_decay {self.weight_decay}: want lr > 0 and weight_decay >= 0")
        if self.components and not self.freeze:
            problems.append("components needs freeze = true: features that move have no fixed components")
        if self.augment and self.freeze:
            problems.append("augment needs freeze = false: cached features are of the images as they are")
        if problems:
            raise RecipeError("; ".join(problems))

    def as_dict(self) -> dict[str, Any]:
        """The values by name."""
        return asdict(self)

    def autocast(self, device: torch.device) -> bool:
        """Whether to run in bf16: ``auto`` does where the hardware has it, and never where it is emulated."""
        if self.precision != "auto":
            return self.precision == "bf16"
        if device.type == "cuda":
            return bool(torch.cuda.is_bf16_supported(including_emulation=False))
        capabilities = torch.cpu.get_capabilities()
        return bool(capabilities.get("avx512_bf16") or capabilities.get("amx_bf16"))


def load(name: str, images: int | None = None) -> Recipe:
    """Load a recipe by the name of a file in ``training/recipes``, or by path.

    Args:
        images: how many the training split has; a size that is ``auto`` follows from it.

    Raises:
        RecipeError: there is none, it is no TOML, keys are missing, unknown, of another type or out of their range;
            names all of them.
    """
    path = Path(name) if name.endswith(".toml") else FOLDER / f"{name}.toml"
    try:
        values = tomllib.loads(path.read_text())
    except FileNotFoundError as error:
        known = ", ".join(sorted(file.stem for file in FOLDER.glob("*.toml")))
        raise RecipeError(f"there is no recipe {name!r}: want one of {known}, or the path of a .toml file") from error
    except tomllib.TOMLDecodeError as error:
        raise RecipeError(f"{path} is no TOML: {error}") from error
    wanted = get_type_hints(Recipe)
    unknown, missing = values.keys() - wanted.keys(), wanted.keys() - values.keys()
    if unknown or missing:
        raise RecipeError(f"{path}: unknown keys {sorted(unknown)}, missing keys {sorted(missing)}")
    problems = []
    for key, kind in wanted.items():
        if kind is float and type(values[key]) is int:
            values[key] = float(values[key])
        if type(values[key]) is not kind and not (values[key] == sizes.AUTO and key in sizes.KEYS):
            problems.append(f"{key} is {values[key]!r}: want a {kind.__name__}")
    if problems:
        raise RecipeError(f"{path}: {'; '.join(problems)}")
    automatic = [key for key in sizes.KEYS if values[key] == sizes.AUTO]
    if automatic:
        if images is None:
            raise RecipeError(f"{path}: {', '.join(automatic)} follow the data: want the number of its images")
        values = sizes.follow(values, images)
    try:
        return Recipe(**values)
    except RecipeError as error:
        raise RecipeError(f"{path}: {error}") from error
