"""What an interrupted run may go on from."""

from dataclasses import replace
from pathlib import Path

import pytest
import torch

from training import recipe
from training.data.image_set import ImageSet
from training.fit.distributed import Group
from training.fit.run import Run
from training.train import _prepare


@pytest.mark.parametrize(("change", "kept"), [(None, True), ("start", False), ("recipe", False)])
def test_it_goes_on_only_from_the_same_start_and_recipe(
    images: ImageSet, tmp_path: Path, change: str | None, kept: bool
) -> None:
    """Features of one start's convolutions under another's dense layers would be a network that never was."""
    start = tmp_path / "alexnet.pth"
    start.write_bytes(b"weights")
    chosen = replace(recipe.load("smoke"), start=str(start))
    run = Run(chosen, Group(0, 1, torch.device("cpu")), tmp_path / "state", tmp_path / "metrics.jsonl")
    _prepare(run, images)
    features = run.state / "features-00000.npy"
    features.touch()
    if change == "start":
        start.write_bytes(b"others!")
    if change == "recipe":
        run = replace(run, recipe=replace(chosen, epochs=9))
    _prepare(run, images)
    assert features.exists() == kept
