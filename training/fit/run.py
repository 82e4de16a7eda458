"""A run: what every part of it needs to know."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from training.fit.distributed import Group
from training.recipe import Recipe


@dataclass(frozen=True, slots=True)
class Run:
    """One process's view of a training run."""

    recipe: Recipe
    group: Group
    #: Folder of what an interrupted run goes on from.
    state: Path
    #: JSON lines, one an epoch.
    metrics: Path
    #: Processes that decode images for this one; None for one a core, as :func:`training.data.batches.batches` has it.
    workers: int | None = None

    @property
    def bf16(self) -> bool:
        """Whether to compute in bfloat16."""
        return self.recipe.autocast(self.group.device)
