"""The loop: epochs of SGD over examples, resumable after a kill at any moment with the same final bits."""

from __future__ import annotations

import json
import math
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional as F
from tqdm import tqdm

from alexnet_client.errors import AlexNetError
from alexnet_client.files import atomic_path
from training.fit.examples import Examples, Split
from training.fit.run import Run
from training.recipe import Recipe

STATE_FILE = "state.pt"
#: One-cycle: a fifth of the steps up from lr / 25, then a cosine down (Smith, Topin 2018). Cosine: a short rise only.
WARM_UP = {"one_cycle": 0.2, "cosine": 0.02}
FIRST_FACTOR = 1 / 25


class TrainingError(AlexNetError):
    """Training that cannot go on."""


@dataclass(frozen=True, slots=True)
class Epoch:
    """One line of ``metrics.jsonl``. Accuracies are percent."""

    epoch: int
    loss: float
    accuracy: float
    validation_loss: float | None
    validation_accuracy: float | None
    lr: float
    images_per_second: float
    seconds: float


def learning_rate(recipe: Recipe, step: int, steps: int) -> float:
    """The rate at ``step`` of ``steps``: a linear rise, then half a cosine."""
    rise = max(1, round(WARM_UP[recipe.schedule] * steps))
    if step < rise:
        return recipe.lr * (FIRST_FACTOR + (1 - FIRST_FACTOR) * step / rise)
    return recipe.lr * 0.5 * (1 + math.cos(math.pi * (step - rise) / max(1, steps - rise)))


def fit(module: nn.Module, split: Split, run: Run) -> list[Epoch]:
    """Train ``module`` (inputs -> logits) in place.

    The training state is written after every epoch and read when it is there. Order, dropout and augmentation of an
    epoch depend on the seed and the epoch alone, so a resumed run ends with the same bits.

    Raises:
        TrainingError: fewer training images than one batch, a batch that the group cannot share, or a loss that is
            not finite.
        training.data.image_set.DataError: an image cannot be read any more.
        alexnet_client.errors.FileError: the state could not be written.
    """
    recipe, group = run.recipe, run.group
    if recipe.batch_size % group.size or len(split.training) < recipe.batch_size:
        raise TrainingError(
            f"batch_size is {recipe.batch_size}: want a multiple of {group.size} processes, and at most the "
            f"{len(split.training)} training images"
        )
    module.to(group.device)
    optimiser = torch.optim.SGD(
        module.parameters(), recipe.lr, recipe.momentum, weight_decay=recipe.weight_decay, nesterov=recipe.momentum > 0
    )
    history = _resume(module, optimiser, run)
    parallel = group.wrap(module)
    for number in range(len(history), recipe.epochs):
        epoch = _epoch(parallel, optimiser, number, split, run)
        history.append(epoch)
        if group.first:
            with atomic_path(run.state / STATE_FILE) as partial:
                torch.save(
                    {
                        "module": module.state_dict(),
                        "optimiser": optimiser.state_dict(),
                        "history": [vars_of(e) for e in history],
                    },
                    partial,
                )
            write_metrics(run.metrics, history)
        group.wait()
    if group.first:
        write_metrics(run.metrics, history)  # a kill may have come between the last state and its line
    module.eval()
    return history


def vars_of(epoch: Epoch) -> dict[str, Any]:
    """An epoch's figures by name."""
    return {name: getattr(epoch, name) for name in Epoch.__slots__}


def write_metrics(path: Path, history: Sequence[Epoch]) -> None:
    """Write ``history`` as JSON lines, atomically."""
    with atomic_path(path) as partial:
        partial.write_text("".join(json.dumps(vars_of(epoch)) + "\n" for epoch in history))


def _resume(module: nn.Module, optimiser: torch.optim.Optimizer, run: Run) -> list[Epoch]:
    path = run.state / STATE_FILE
    if not path.is_file():
        return []
    known = torch.load(path, map_location=run.group.device, weights_only=True)
    module.load_state_dict(known["module"])
    optimiser.load_state_dict(known["optimiser"])
    history = [Epoch(**values) for values in known["history"]]
    if run.group.first:
        tqdm.write(f"resuming after epoch {len(history)}")
    return history


def _epoch(module: nn.Module, optimiser: torch.optim.Optimizer, number: int, split: Split, run: Run) -> Epoch:
    recipe, group = run.recipe, run.group
    started = time.monotonic()
    torch.manual_seed(recipe.seed * 1_000_003 + number * 1009 + group.rank)
    # The same in every process of the group: what happens to an image does not depend on who reads it.
    generator = torch.Generator().manual_seed(recipe.seed * 1_000_003 + number)
    order = torch.randperm(len(split.training), generator=generator)
    steps = len(split.training) // recipe.batch_size
    mine = [group.share(order[i * recipe.batch_size : (i + 1) * recipe.batch_size]) for i in range(steps)]
    sums, rate = [0.0, 0.0, 0.0], 0.0
    examples = split.training.read(mine, generator)
    bar = tqdm(examples, f"epoch {number + 1}/{recipe.epochs}", steps, unit="batch", disable=not group.first)
    module.train()
    for step, (inputs, targets) in enumerate(bar):
        rate = learning_rate(recipe, number * steps + step, recipe.epochs * steps)
        for parameters in optimiser.param_groups:
            parameters["lr"] = rate
        loss, right = _forward(module, inputs, targets, run)
        if not torch.isfinite(loss):
            raise TrainingError(f"the loss is {loss.item()} in epoch {number + 1}, step {step}: lower lr ({recipe.lr})")
        optimiser.zero_grad()
        loss.backward()  # type: ignore[no-untyped-call]
        optimiser.step()
        sums = [a + b for a, b in zip(sums, (loss.item() * len(targets), right, len(targets)), strict=True)]
        bar.set_postfix_str(
            f"loss {sums[0] / sums[2]:.3f}, accuracy {100 * sums[1] / sums[2]:.1f} %, "
            f"{sums[2] * group.size / (time.monotonic() - started):.0f} image/s"
        )
    loss_sum, right_sum, seen = group.total(sums)
    trained = time.monotonic() - started
    validation_loss, validation_accuracy = _validate(module, split.validation, run)
    if group.first and validation_accuracy is not None:
        tqdm.write(f"epoch {number + 1}: validation loss {validation_loss:.3f}, accuracy {validation_accuracy:.2f} %")
    return Epoch(
        epoch=number + 1,
        loss=loss_sum / seen,
        accuracy=100 * right_sum / seen,
        validation_loss=validation_loss,
        validation_accuracy=validation_accuracy,
        lr=rate,
        images_per_second=seen / trained,
        seconds=time.monotonic() - started,
    )


def _validate(module: nn.Module, validation: Examples, run: Run) -> tuple[float | None, float | None]:
    if not len(validation):
        return None, None
    mine = run.group.share(torch.arange(len(validation)))
    parts = list(torch.split(mine, run.recipe.batch_size)) if len(mine) else []
    sums = [0.0, 0.0, 0.0]
    bare = getattr(module, "module", module)  # without DistributedDataParallel, whose ranks may differ in steps here
    bare.eval()
    with torch.inference_mode():
        for inputs, targets in validation.read(parts, torch.Generator()):
            loss, right = _forward(bare, inputs, targets, run)
            sums = [a + b for a, b in zip(sums, (loss.item() * len(targets), right, len(targets)), strict=True)]
    loss_sum, right_sum, seen = run.group.total(sums)
    return loss_sum / seen, 100 * right_sum / seen


def _forward(module: nn.Module, inputs: Tensor, targets: Tensor, run: Run) -> tuple[Tensor, float]:
    device = run.group.device
    inputs, targets = inputs.to(device), targets.to(device)
    with torch.autocast(device.type, dtype=torch.bfloat16, enabled=run.bf16):
        logits = module(inputs)
    smoothing = run.recipe.label_smoothing if module.training else 0.0
    loss = F.cross_entropy(logits.float(), targets, label_smoothing=smoothing)
    return loss, float((logits.argmax(1) == targets).sum())
