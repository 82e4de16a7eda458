"""A training run: recipe + data set -> checkpoint, metrics and curve."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from alexnet_client.files import atomic_path, sha256_of
from training import checkpoint, pretrained
from training.data.image_set import ImageSet
from training.fit.dense import PRINCIPAL_SAMPLE, fit_dense
from training.fit.distributed import Group
from training.fit.examples import ImageExamples, Split
from training.fit.loop import Epoch, TrainingError, fit
from training.fit.run import Run
from training.model import AlexNet, channels_last
from training.pictures import draw_curve
from training.recipe import Recipe

METRICS_FILE = "metrics.jsonl"
CURVE_FILE = "curve.png"
STATE = "state"


def train(recipe: Recipe, images: ImageSet, output: Path, group: Group, workers: int | None = None) -> None:
    """Train by ``recipe`` on ``images`` and write a checkpoint, ``metrics.jsonl`` and ``curve.png`` into ``output``.

    Killed at any moment and called again, it goes on from its last chunk of features or epoch (in ``output/state``,
    removed at the end) and ends with the same weights.

    Args:
        workers: processes that decode images for this one; 0 for none, one a core by default.

    Raises:
        TrainingError: the recipe does not fit the data, see :func:`check`, or training diverged.
        training.data.image_set.DataError: an image cannot be read any more.
        training.pretrained.WeightsError: the starting point cannot be had.
        alexnet_client.errors.FileError: a file could not be written.
    """
    check(recipe, len(images), images.name, group.size)
    run = Run(recipe, group, output / STATE, output / METRICS_FILE, workers)
    if group.first:
        _prepare(run, images)
    group.wait()
    network = _start(run, len(images.labels))
    training, validation = _choose(recipe, images)
    if recipe.freeze:
        history = fit_dense(network, images, training, validation, run)
    else:
        split = Split(
            ImageExamples(images, training, run, augment=recipe.augment),
            ImageExamples(images, validation, run, augment=False),
        )
        history = fit(_Logits(channels_last(network)), split, run)
    if group.first:
        _finish(network, history, images, run, output)


def _prepare(run: Run, images: ImageSet) -> None:
    """Keep the state of an interrupted run with the same recipe, start and data, clear that of any other."""
    start = pretrained.identity(run.recipe.start)
    key = sha256_of(json.dumps([run.recipe.as_dict(), start, images.sha256], sort_keys=True))
    path = run.state / "key"
    if path.is_file() and path.read_text() == key:
        return
    shutil.rmtree(run.state, ignore_errors=True)
    with atomic_path(path) as partial:
        partial.write_text(key)


def _start(run: Run, classes: int) -> AlexNet:
    """The network as it starts, the same in every process; the first one downloads what has to be."""
    torch.manual_seed(run.recipe.seed)
    network = AlexNet(run.recipe.variant, classes, run.recipe.dropout)
    if run.group.first:
        pretrained.initialise(network, run.recipe.start)
    run.group.wait()
    if not run.group.first:
        pretrained.initialise(network, run.recipe.start)
    return network


def _finish(network: AlexNet, history: list[Epoch], images: ImageSet, run: Run, output: Path) -> None:
    """Write what a run leaves, and remove its state."""
    accuracy = history[-1].validation_accuracy
    meta = checkpoint.Meta(
        variant=run.recipe.variant,
        labels=images.labels,
        recipe=run.recipe.as_dict(),
        dataset={"name": images.name, "sha256": images.sha256},
        accuracy={} if accuracy is None else {"validation_top1": round(accuracy, 4)},
        git_commit=checkpoint.git_commit(),
    )
    checkpoint.save(output, network, meta)
    draw_curve(history, output / CURVE_FILE)
    shutil.rmtree(run.state)


class _Logits(nn.Module):
    """A network without its embedding output."""

    def __init__(self, network: AlexNet) -> None:
        super().__init__()
        self.network = network

    def forward(self, images: Tensor) -> Tensor:
        logits: Tensor = self.network(images)[0]
        return logits


def check(recipe: Recipe, images: int, name: str, processes: int = 1) -> None:
    """Check that there are images enough for a recipe, before any of them is decoded.

    Args:
        images: how many the training split has.
        name: of the split, for the error.

    Raises:
        TrainingError: there are not; names everything that the recipe wants otherwise.
    """
    problems = []
    if recipe.images + recipe.validation > images or recipe.validation >= images:
        wanted = f"{recipe.images:,}" if recipe.images else "some"
        problems.append(f"it wants {wanted} training and {recipe.validation:,} validation images")
    left = max(images - recipe.validation, 0) or images
    training = min(recipe.images or left, left)
    if recipe.components > min(training, PRINCIPAL_SAMPLE):
        problems.append(
            f"components is {recipe.components:,}: want no more than training images, nor than {PRINCIPAL_SAMPLE:,}"
        )
    if recipe.batch_size > training:
        problems.append(f"batch_size is {recipe.batch_size:,}: want no more than training images")
    if recipe.batch_size % processes:
        problems.append(f"batch_size is {recipe.batch_size:,}: want a multiple of the {processes} processes")
    if problems:
        raise TrainingError(
            f"{name} has {images:,} images, which the recipe does not fit: {'; '.join(problems)}. "
            "`--recipe transfer` takes its sizes from the data; training/README.md has all keys"
        )


def _choose(recipe: Recipe, images: ImageSet) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Training and validation images, by a permutation that depends on the seed alone."""
    order = np.random.default_rng(recipe.seed).permutation(len(images))
    return order[recipe.validation :][: recipe.images or None], order[: recipe.validation]
