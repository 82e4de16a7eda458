"""Training by its commands: killed and resumed, alone and with others, from the network's own files."""

from __future__ import annotations

import hashlib
import json
import os
import random
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from tests.conftest import ROOT, Built, python
from training import recipe

TINY = """
variant = "owt"
start = "imagenet-convolutions"
freeze = true
components = 16
images = 96
validation = 16
epochs = 3
batch_size = 32
lr = 0.05
momentum = 0.9
weight_decay = 5e-4
schedule = "one_cycle"
label_smoothing = 0.05
dropout = 0.5
augment = false
precision = "fp32"
seed = 7
"""


def sha256(path: Path) -> str:
    return hashlib.sha256(path.read_bytes()).hexdigest()


@pytest.fixture(scope="module")
def tiny(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("recipe") / "tiny.toml"
    path.write_text(TINY)
    return path


def test_a_run_leaves_a_checkpoint_a_curve_and_its_figures(built: Built) -> None:
    meta = json.loads((built.checkpoint / "meta.json").read_text())
    assert meta["recipe"] == recipe.load("smoke").as_dict()
    assert len(meta["labels"]) == 10
    assert len(meta["dataset"]["sha256"]) == 64
    assert meta["accuracy"]["validation_top1"] > 75
    assert (built.checkpoint / "curve.png").read_bytes().startswith(b"\x89PNG")
    assert len((built.checkpoint / "metrics.jsonl").read_text().splitlines()) == recipe.load("smoke").epochs
    assert not (built.checkpoint / "state").exists()
    assert not list(built.checkpoint.glob(".*"))


def test_killed_at_random_moments_and_run_again_it_gives_the_same_hash(
    folder: Path, tiny: Path, tmp_path: Path
) -> None:
    arguments = ["training", "train", "--recipe", tiny, "--data", folder, "--output"]
    started = time.monotonic()
    python(*arguments, tmp_path / "undisturbed")
    seconds = time.monotonic() - started
    disturbed, generator = tmp_path / "disturbed", random.Random(2012)
    for _ in range(3):
        running = subprocess.Popen(
            [sys.executable, "-m", *map(str, arguments), str(disturbed)],
            cwd=ROOT, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL,
        )  # fmt: skip
        try:
            running.wait(seconds * generator.uniform(0.4, 0.95))
        except subprocess.TimeoutExpired:
            running.send_signal(signal.SIGKILL)
            running.wait()
    python(*arguments, disturbed)
    for name in ("model.safetensors", "meta.json"):
        assert sha256(disturbed / name) == sha256(tmp_path / "undisturbed" / name)
    figures = [
        [{**json.loads(line), "seconds": 0, "images_per_second": 0} for line in path.read_text().splitlines()]
        for path in (disturbed / "metrics.jsonl", tmp_path / "undisturbed" / "metrics.jsonl")
    ]
    assert figures[0] == figures[1]


def test_another_seed_gives_other_weights(folder: Path, tiny: Path, tmp_path: Path) -> None:
    for seed in (1, 2):
        python(
            "training", "train", "--recipe", tiny, "--data", folder, "--seed", seed, "--output", tmp_path / str(seed)
        )
    assert sha256(tmp_path / "1/model.safetensors") != sha256(tmp_path / "2/model.safetensors")


def test_two_processes_train_as_one_with_the_same_global_batch(folder: Path, tmp_path: Path) -> None:
    """torchrun over gloo on loopback, every layer trained: the same losses."""
    path = tmp_path / "all-layers.toml"
    text = TINY.replace("freeze = true", "freeze = false").replace("components = 16", "components = 0")
    text = text.replace("images = 96", "images = 16").replace("validation = 16", "validation = 8")
    text = text.replace("batch_size = 32", "batch_size = 8").replace("dropout = 0.5", "dropout = 0.0")
    path.write_text(text.replace("epochs = 3", "epochs = 2").replace("lr = 0.05", "lr = 0.01"))
    arguments = ["training", "train", "--recipe", path, "--data", folder, "--output"]
    python(*arguments, tmp_path / "one")
    launcher = ["torch.distributed.run", "--nproc-per-node", 2, "--master-addr", "127.0.0.1", "--master-port", 0, "-m"]
    os.environ.setdefault("OMP_NUM_THREADS", "1")
    python(*launcher, *arguments, tmp_path / "two")
    losses = [
        [
            (values["loss"], values["validation_loss"], values["accuracy"])
            for values in map(json.loads, (tmp_path / name / "metrics.jsonl").read_text().splitlines())
        ]
        for name in ("one", "two")
    ]
    assert len(losses[0]) == 2
    for one, two in zip(*losses, strict=True):
        assert two == pytest.approx(one, rel=1e-4)


def test_public_weights_become_a_checkpoint_without_training(tmp_path: Path, built: Built) -> None:
    labels = tmp_path / "labels.txt"
    labels.write_text("".join(f"class {i}\n" for i in range(10)))
    arguments = ["--weights", built.checkpoint / "model.safetensors", "--labels", labels, "--output", tmp_path / "out"]
    assert "10 classes" in python("training", "import", *arguments).stdout
    assert json.loads((tmp_path / "out/meta.json").read_text())["labels"][9] == "class 9"


def test_evaluation_prints_and_writes(built: Built, tmp_path: Path) -> None:
    done = python(
        "training", "evaluate", "--checkpoint", built.checkpoint, "--data", built.data,
        "--output", tmp_path, "--predictions", built.predictions,
    )  # fmt: skip
    assert "on 400 images" in done.stdout
    assert json.loads((tmp_path / "evaluation.json").read_text())["top1"] > 75


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["train", "--recipe", "nonsense"], "there is no recipe 'nonsense'"),
        (["train", "--data", "/nowhere"], "/nowhere is no data set"),
        (["evaluate", "--checkpoint", "/nowhere"], "/nowhere is no checkpoint"),
        (["import", "--weights", "/nowhere.pth", "--labels", "/dev/null"], "got 0 classes"),
    ],
)
def test_mistakes_are_one_line(arguments: list[str], message: str) -> None:
    done = python("training", *arguments, status=1)
    assert message in done.stderr
    assert len(done.stderr.splitlines()) == 1


def test_more_images_than_there_are_is_refused(folder: Path, tmp_path: Path) -> None:
    path = tmp_path / "large.toml"
    path.write_text(TINY.replace("images = 96", "images = 5000"))
    done = python("training", "train", "--recipe", path, "--data", folder, "--output", tmp_path / "out", status=1)
    assert "wants 5,000 training and 16 validation images" in done.stderr


def test_help_teaches() -> None:
    assert "torchrun" in python("training", "--help").stdout
