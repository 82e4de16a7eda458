"""A training run: recipe + data set -> checkpoint, metrics and curve."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from alexnet_client.contract import EMBEDDING_LENGTH
from alexnet_client.files import atomic_path, sha256_of
from training import checkpoint, pretrained
from training.data.image_set import ImageSet
from training.fit.distributed import Group
from training.fit.examples import ImageExamples, TensorExamples
from training.fit.features import cached_features
from training.fit.loop import Epoch, TrainingError, fit
from training.fit.principal import PrincipalCoordinates
from training.model import AlexNet, channels_last
from training.pictures import draw_curve
from training.recipe import Recipe

METRICS_FILE = "metrics.jsonl"
CURVE_FILE = "curve.png"
STATE = "state"
#: Images that the principal components are found on.
PRINCIPAL_SAMPLE = 4096


def train(recipe: Recipe, images: ImageSet, output: Path, group: Group) -> None:
    """Train by ``recipe`` on ``images`` and write a checkpoint, ``metrics.jsonl`` and ``curve.png`` into ``output``.

    Killed at any moment and called again, it goes on from its last chunk of features or epoch (in ``output/state``,
    removed at the end) and ends with the same weights.

    Raises:
        TrainingError: the recipe asks for more images than there are, or training diverged.
        training.pretrained.WeightsError: the starting point cannot be had.
        OSError: a file could not be written.
    """
    state = output / STATE
    if group.first:
        _prepare(state, recipe, images)
    group.wait()
    torch.manual_seed(recipe.seed)
    network = AlexNet(recipe.variant, len(images.labels), recipe.dropout)
    if group.first:
        pretrained.initialise(network, recipe.start)
    group.wait()
    if not group.first:
        pretrained.initialise(network, recipe.start)
    numbers = _choose(recipe, images)
    metrics = output / METRICS_FILE
    if recipe.freeze:
        history = _dense(network, recipe, images, numbers, group, state, metrics)
    else:
        training = ImageExamples(images, numbers[0], recipe.augment)
        validation = ImageExamples(images, numbers[1], augment=False)
        history = fit(_Logits(channels_last(network)), training, validation, recipe, group, state, metrics)
    if not group.first:
        return
    accuracy = history[-1].validation_accuracy
    meta = checkpoint.Meta(
        variant=recipe.variant,
        labels=images.labels,
        recipe=recipe.as_dict(),
        dataset={"name": images.name, "sha256": images.sha256},
        accuracy={} if accuracy is None else {"validation_top1": round(accuracy, 4)},
        git_commit=checkpoint.git_commit(),
    )
    checkpoint.save(output, network, meta)
    draw_curve(history, output / CURVE_FILE)
    shutil.rmtree(state)


class _Logits(nn.Module):
    """A network without its embedding output."""

    def __init__(self, network: AlexNet) -> None:
        super().__init__()
        self.network = network

    def forward(self, images: Tensor) -> Tensor:
        logits: Tensor = self.network(images)[0]
        return logits


def _dense(
    network: AlexNet,
    recipe: Recipe,
    images: ImageSet,
    numbers: tuple[NDArray[np.int64], NDArray[np.int64]],
    group: Group,
    state: Path,
    metrics: Path,
) -> list[Epoch]:
    """Train the dense layers on the features of the frozen convolutions."""
    everything = np.concatenate(numbers)
    bf16 = recipe.autocast(group.device)
    features = cached_features(network.features, images, everything, state, group, bf16)
    targets = torch.from_numpy(images.targets[everything])
    if not recipe.components:
        return _fit_split(network.classifier, features, targets, len(numbers[0]), recipe, group, state, metrics)
    sample = features[: min(len(numbers[0]), PRINCIPAL_SAMPLE)].float()
    coordinates = PrincipalCoordinates.fit(sample, recipe.components, recipe.seed)
    inputs = torch.cat([coordinates(part.float()) for part in torch.split(features, PRINCIPAL_SAMPLE)])
    del features
    # Dropout goes where the paper has it, on the outputs of both hidden layers: coordinates are not to be dropped.
    dropout, _, *hidden, logits = network.classifier
    first = nn.Linear(recipe.components, EMBEDDING_LENGTH)
    head = nn.Sequential(first, *hidden, dropout, logits)
    history = _fit_split(head, inputs, targets, len(numbers[0]), recipe, group, state, metrics)
    folded = network.classifier[1]
    folded.weight.data, folded.bias.data = coordinates.fold(first.cpu())
    return history


def _fit_split(
    head: nn.Module,
    inputs: Tensor,
    targets: Tensor,
    count: int,
    recipe: Recipe,
    group: Group,
    state: Path,
    metrics: Path,
) -> list[Epoch]:
    training = TensorExamples(inputs[:count], targets[:count])
    validation = TensorExamples(inputs[count:], targets[count:])
    return fit(head, training, validation, recipe, group, state, metrics)


def _choose(recipe: Recipe, images: ImageSet) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Training and validation images, by a permutation that depends on the seed alone."""
    wanted = recipe.images + recipe.validation
    if wanted > len(images) or recipe.validation >= len(images):
        raise TrainingError(
            f"the recipe wants {recipe.images:,} training and {recipe.validation:,} validation images, "
            f"{images.name} has {len(images):,}"
        )
    order = np.random.default_rng(recipe.seed).permutation(len(images))
    rest = order[recipe.validation :][: recipe.images or None]
    most = min(len(rest), PRINCIPAL_SAMPLE)
    if recipe.components > most:
        raise TrainingError(f"the recipe wants {recipe.components:,} components of {most:,} images: want fewer")
    return rest, order[: recipe.validation]


def _prepare(state: Path, recipe: Recipe, images: ImageSet) -> None:
    """Keep the state of an interrupted run with the same recipe and data, clear that of any other."""
    key = sha256_of(json.dumps([recipe.as_dict(), images.sha256], sort_keys=True))
    path = state / "key"
    if path.is_file() and path.read_text() == key:
        return
    shutil.rmtree(state, ignore_errors=True)
    with atomic_path(path) as partial:
        partial.write_text(key)
