"""The loop: it learns, resumes to the same bits, and says what is wrong."""

import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import nn

from training import recipe
from training.data.image_set import ImageSet
from training.fit.distributed import Group
from training.fit.examples import ImageExamples, Split, TensorExamples, augment
from training.fit.loop import STATE_FILE, TrainingError, fit, learning_rate
from training.fit.run import Run
from training.pictures import draw_curve

ALONE = Group(0, 1, torch.device("cpu"))


@pytest.fixture
def small() -> recipe.Recipe:
    return replace(recipe.load("demo"), epochs=4, batch_size=16, lr=0.2, label_smoothing=0.0)


@pytest.fixture
def examples() -> TensorExamples:
    generator = torch.Generator().manual_seed(0)
    inputs = torch.randn(256, 8, generator=generator)
    return TensorExamples(inputs, (inputs[:, 0] > 0).long())


def network() -> nn.Module:
    torch.manual_seed(0)
    return nn.Sequential(nn.Linear(8, 32), nn.ReLU(), nn.Dropout(0.5), nn.Linear(32, 2))


def test_it_learns_and_writes_a_line_and_a_curve_for_each_epoch(small, examples, tmp_path: Path) -> None:
    module = network()
    history = fit(module, Split(examples, examples), Run(small, ALONE, tmp_path, tmp_path / "metrics.jsonl"))
    lines = [json.loads(line) for line in (tmp_path / "metrics.jsonl").read_text().splitlines()]
    assert [line["epoch"] for line in lines] == [1, 2, 3, 4]
    assert lines[-1]["validation_accuracy"] > 95
    assert lines[-1]["loss"] < lines[0]["loss"]
    assert not module.training
    draw_curve(history, tmp_path / "curve.png")
    assert (tmp_path / "curve.png").read_bytes().startswith(b"\x89PNG")


@pytest.mark.parametrize("interrupted_in", [1, 2, 3])
def test_interrupted_and_resumed_it_ends_with_the_same_bits(
    small, examples, tmp_path: Path, interrupted_in: int
) -> None:
    """The interruption comes in the middle of an epoch; dropout and order go on as if nothing had been."""
    undisturbed, resumed = network(), network()
    fit(undisturbed, Split(examples, examples), Run(small, ALONE, tmp_path / "a", tmp_path / "a.jsonl"))

    class Interrupting(TensorExamples):
        epoch = 0

        def read(self, order, generator):
            training = len(order) == 16
            for step, batch in enumerate(super().read(order, generator)):
                if training and self.epoch == interrupted_in and step == 7:
                    raise KeyboardInterrupt
                yield batch
            self.epoch += training

    breaking = Interrupting(examples._inputs, examples._targets)
    state, metrics = tmp_path / "b", tmp_path / "b.jsonl"
    with pytest.raises(KeyboardInterrupt):
        fit(resumed, Split(breaking, examples), Run(small, ALONE, state, metrics))
    again = network()
    with torch.no_grad():
        again[0].weight.zero_()  # whatever it starts with, the state decides
    fit(again, Split(examples, examples), Run(small, ALONE, state, metrics))
    for wanted, got in zip(undisturbed.parameters(), again.parameters(), strict=True):
        assert torch.equal(wanted, got)
    assert len(metrics.read_text().splitlines()) == 4


def test_the_rate_rises_and_falls_as_published(small) -> None:
    rates = [learning_rate(small, step, 100) for step in range(100)]
    assert rates[0] == pytest.approx(0.2 / 25)
    assert max(rates) == rates[20] == pytest.approx(0.2)
    assert rates[60] == pytest.approx(0.1)  # half a cosine, half-way
    assert rates[-1] < 1e-3
    cosine = [learning_rate(replace(small, schedule="cosine"), step, 100) for step in range(100)]
    assert cosine[2] == pytest.approx(0.2)
    assert cosine == sorted(cosine[:2]) + sorted(cosine[2:], reverse=True)


def test_a_loss_that_is_no_number_stops_it(small, examples, tmp_path: Path) -> None:
    with pytest.raises(TrainingError, match=r"the loss is (nan|inf) in epoch \d, step \d+: lower lr"):
        fit(network(), Split(examples, examples), Run(replace(small, lr=1e30), ALONE, tmp_path, tmp_path / "m"))
    assert not (tmp_path / STATE_FILE).exists()


def test_too_few_images_for_a_batch_are_refused(small, examples, tmp_path: Path) -> None:
    with pytest.raises(TrainingError, match="at most the 256 training images"):
        fit(network(), Split(examples, examples), Run(replace(small, batch_size=300), ALONE, tmp_path, tmp_path / "m"))


def test_without_validation_images_there_are_no_such_figures(small, examples, tmp_path: Path) -> None:
    none = TensorExamples(torch.zeros(0, 8), torch.zeros(0, dtype=torch.long))
    history = fit(network(), Split(examples, none), Run(replace(small, epochs=1), ALONE, tmp_path, tmp_path / "m"))
    assert history[0].validation_accuracy is None
    draw_curve(history, tmp_path / "curve.png")


def test_images_are_read_normalised_and_augmented(small, images: ImageSet, tmp_path: Path) -> None:
    run = Run(small, ALONE, tmp_path, tmp_path / "m", workers=0)
    order = [torch.tensor([0, 1]), torch.tensor([2])]

    def read(augment: bool, order: list[torch.Tensor], seed: int = 0) -> list[tuple[torch.Tensor, torch.Tensor]]:
        examples = ImageExamples(images, np.array([10, 20, 30]), run, augment=augment)
        return list(examples.read(order, torch.Generator().manual_seed(seed)))

    plain, augmented = read(False, order), read(True, order)
    assert [tuple(inputs.shape) for inputs, _ in plain] == [(2, 3, 224, 224), (1, 3, 224, 224)]
    assert plain[1][1].tolist() == [images.targets[30]]
    assert plain[0][0][1, 0, 5, 6] == (int(images[20][0][5, 6, 0]) - 128) / 128
    assert not torch.equal(plain[0][0], augmented[0][0])
    assert not torch.equal(read(True, order, seed=1)[0][0], augmented[0][0])
    # Shared out to two processes, each image is augmented as one process would.
    for number, alone in ((1, augmented[0][0][1]), (2, augmented[1][0][0])):
        assert torch.equal(read(True, [torch.tensor([number])])[0][0][0], alone)


def test_augmentation_flips_and_shifts_and_does_nothing_else() -> None:
    """Every answer is a window of the image with its edges reflected, flipped or not."""
    image = torch.randint(0, 256, (40, 40, 3), dtype=torch.uint8)
    padded = np.pad(image.numpy(), ((16, 16), (16, 16), (0, 0)), mode="reflect")
    wanted = [
        (down, right, flip, padded[16 + down :, 16 + right :][:40, :40][:, :: -1 if flip else 1])
        for down in range(-16, 17, 4)
        for right in range(-16, 17)
        for flip in (False, True)
    ]
    flips = torch.tensor([flip for _, _, flip, _ in wanted])
    shifts = torch.tensor([(down, right) for down, right, _, _ in wanted])
    got = augment(image.repeat(len(wanted), 1, 1, 1), flips, shifts)
    assert got.dtype == torch.uint8
    np.testing.assert_array_equal(got, np.stack([window for *_, window in wanted]))


def test_every_shift_and_both_directions_are_drawn(small, images: ImageSet, tmp_path: Path, monkeypatch) -> None:
    drawn: list[tuple[torch.Tensor, torch.Tensor]] = []
    monkeypatch.setattr("training.fit.examples.augment", lambda pixels, *how: drawn.append(how) or pixels)
    run = Run(small, ALONE, tmp_path, tmp_path / "m", workers=0)
    examples = ImageExamples(images, np.zeros(400, np.int64), run, augment=True)
    next(examples.read([torch.arange(400)], torch.Generator().manual_seed(0)))
    ((flips, shifts),) = drawn
    assert 150 < flips.sum() < 250
    for way in shifts.T:
        assert sorted(set(way.tolist())) == list(range(-16, 17))
