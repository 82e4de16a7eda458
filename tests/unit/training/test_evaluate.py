"""Scores against numbers made by hand, and checkpoints that are what they say."""

import json
from pathlib import Path

import numpy as np
import pytest
import torch

from training import checkpoint
from training.checkpoint import CheckpointError, Meta
from training.evaluate import score, write
from training.model import AlexNet
from training.pictures import draw_confusion

LABELS = [f"class {i}" for i in range(7)]


def test_scores_are_those_counted_by_hand() -> None:
    probabilities = np.zeros((4, 7), np.float32)
    probabilities[0, 2] = 1  # right
    probabilities[1] = [0.3, 0.2, 0.2, 0.1, 0.1, 0.06, 0.04]  # fifth is class 4: right among five
    probabilities[2] = [0.3, 0.2, 0.2, 0.1, 0.1, 0.06, 0.04]  # class 6 is last: wrong
    probabilities[3, 0] = 1  # wrong, class 2 shares the rest: third
    got = score(probabilities, np.array([2, 4, 6, 2]), LABELS)
    assert (got.top1, got.top5, got.images) == (25, 75, 4)
    assert got.per_class["class 2"] == 50
    assert got.per_class["class 0"] is None
    assert got.confusion[2].tolist() == [1, 0, 1, 0, 0, 0, 0]
    assert got.confusion.sum() == 4


def test_an_evaluation_is_written_as_figures_and_picture(tmp_path: Path) -> None:
    for classes in (7, 30):  # a table one can read, and one too large for that
        probabilities = np.random.default_rng(0).dirichlet(np.ones(classes), 50).astype(np.float32)
        names = [f"class {i}" for i in range(classes)]
        evaluation = score(probabilities, np.arange(50) % classes, names)
        write(evaluation, tmp_path / "evaluation.json")
        draw_confusion(evaluation, tmp_path / "confusion.png")
        assert json.loads((tmp_path / "evaluation.json").read_text())["images"] == 50
        assert (tmp_path / "confusion.png").read_bytes().startswith(b"\x89PNG")


def test_shapes_that_do_not_belong_together_are_refused() -> None:
    with pytest.raises(ValueError, match=r"got probabilities \(2, 3\): want \(2, 7\)"):
        score(np.zeros((2, 3), np.float32), np.array([0, 1]), LABELS)
    with pytest.raises(ValueError, match="at least one image"):
        score(np.zeros((0, 7), np.float32), np.array([], int), LABELS)


@pytest.fixture(scope="module")
def saved(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("checkpoint")
    torch.manual_seed(0)
    checkpoint.save(folder, AlexNet(classes=2), Meta("owt", ("cat", "dog"), git_commit=checkpoint.git_commit()))
    return folder


def test_a_checkpoint_comes_back_as_it_was(saved: Path) -> None:
    torch.manual_seed(0)
    wanted = AlexNet(classes=2)
    got = checkpoint.load(saved)
    assert torch.equal(got.model.classifier[4].weight, wanted.classifier[4].weight)
    assert got.meta.labels == ("cat", "dog")
    assert not got.model.training
    assert len(got.sha256) == 64
    assert len(got.meta.git_commit) == 40 or got.meta.git_commit == "unknown"


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda meta: {**meta, "labels": ["only"]}, "damaged checkpoint .*size mismatch"),
        (lambda meta: {**meta, "surprise": 1}, "damaged checkpoint .*surprise"),
        (lambda meta: {**meta, "preprocessing": {"resize_side": 256}}, "wants preprocessing"),
    ],
)
def test_meta_that_does_not_fit_is_refused(saved: Path, tmp_path: Path, change, message: str) -> None:
    (tmp_path / "model.safetensors").symlink_to(saved / "model.safetensors")
    meta = json.loads((saved / "meta.json").read_text())
    (tmp_path / "meta.json").write_text(json.dumps(change(meta)))
    with pytest.raises(CheckpointError, match=message):
        checkpoint.load(tmp_path)


def test_missing_and_damaged_files_are_named(saved: Path, tmp_path: Path) -> None:
    with pytest.raises(CheckpointError, match=r"is no checkpoint, meta\.json is missing"):
        checkpoint.load(tmp_path)
    (tmp_path / "meta.json").write_text((saved / "meta.json").read_text())
    with pytest.raises(CheckpointError, match=r"is no checkpoint, model\.safetensors is missing"):
        checkpoint.load(tmp_path)
    (tmp_path / "model.safetensors").write_bytes(b"\0" * 100)
    with pytest.raises(CheckpointError, match="damaged checkpoint"):
        checkpoint.load(tmp_path)
