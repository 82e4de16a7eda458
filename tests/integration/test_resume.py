"""Training as a user runs it: killed with SIGKILL and run again, or shared out by torchrun, it ends the same."""

import json
import os
import random
import signal
import subprocess
import sys
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file

from tests.conftest import ROOT, python
from training import recipe
from training.__main__ import main
from training.checkpoint import META_FILE, WEIGHTS_FILE
from training.train import METRICS_FILE, STATE


def written(path: Path, **changes: object) -> Path:
    """The recipe ``smoke``, smaller still, with random convolutions so that nothing is downloaded."""
    small = {"start": "scratch", "components": 24, "images": 64, "validation": 9, "epochs": 3, "batch_size": 16}
    values = {**recipe.load("smoke").as_dict(), **small, **changes}
    path.write_text("".join(f"{name} = {json.dumps(value)}\n" for name, value in values.items()))
    return path


def arguments(recipe_file: Path, data: Path, output: Path) -> list[str]:
    return ["train", "--recipe", str(recipe_file), "--data", str(data), "--output", str(output)]


def kill_after(command: list[str], wanted: bytes | int) -> bytes:
    """Start ``python -m training``, kill -9 it when its progress has shown some bytes or that many; return them."""
    with subprocess.Popen([sys.executable, "-m", "training", *command], cwd=ROOT, stderr=subprocess.PIPE) as process:
        assert process.stderr
        seen = b""
        while (wanted not in seen) if isinstance(wanted, bytes) else (len(seen) < wanted):
            byte = os.read(process.stderr.fileno(), 1)
            if not byte:
                break
            seen += byte
        process.send_signal(signal.SIGKILL)
    return seen


def test_killed_at_any_moment_and_run_again_it_ends_with_the_same_weights(
    folder: Path, tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    recipe_file = written(tmp_path / "small.toml")
    undisturbed, killed = tmp_path / "undisturbed", tmp_path / "killed"
    assert main(arguments(recipe_file, folder, undisturbed)) == 0
    progress = len(capfd.readouterr().err)
    command = arguments(recipe_file, folder, killed)
    assert b"epoch 2/3" in kill_after(command, b"epoch 2/3")
    assert (killed / STATE / "state.pt").is_file()
    assert not (killed / WEIGHTS_FILE).exists()
    moment = random.randrange(progress)
    kill_after(command, moment)
    last = python("training", *command)
    assert "resuming after epoch" in capfd.readouterr().out + last.stdout
    for name in (WEIGHTS_FILE, META_FILE):
        assert (killed / name).read_bytes() == (undisturbed / name).read_bytes(), f"{name}, killed after {moment} bytes"
    assert [line["epoch"] for line in metrics(killed)] == [1, 2, 3]
    assert not (killed / STATE).exists()


@pytest.mark.parametrize(
    "changes",
    [
        {"images": 48, "epochs": 2},
        {"freeze": False, "components": 0, "images": 16, "batch_size": 8, "epochs": 1, "validation": 1, "lr": 0.01},
    ],
    ids=["dense-layers", "all-layers"],
)
def test_two_processes_learn_as_one_does_with_the_same_batch(
    folder: Path, tmp_path: Path, changes: dict[str, object], monkeypatch: pytest.MonkeyPatch
) -> None:
    # torchrun would give each process one thread: sums in another order, and principal components that differ by more.
    monkeypatch.setenv("OMP_NUM_THREADS", str(torch.get_num_threads()))
    recipe_file = written(tmp_path / "small.toml", **{"dropout": 0.0, **changes})
    one, two = tmp_path / "one", tmp_path / "two"
    assert main(arguments(recipe_file, folder, one)) == 0
    torchrun = ("torch.distributed.run", "--standalone", "--nproc-per-node", "2", "-m", "training")
    python(*torchrun, *arguments(recipe_file, folder, two))
    for name in ("loss", "accuracy", "validation_loss", "validation_accuracy"):
        wanted = [line[name] for line in metrics(one)]
        assert [line[name] for line in metrics(two)] == pytest.approx(wanted, rel=5e-3), name
    wanted_weights, got = load_file(one / WEIGHTS_FILE), load_file(two / WEIGHTS_FILE)
    for name, value in wanted_weights.items():
        torch.testing.assert_close(got[name], value, atol=1e-4, rtol=1e-2)


def test_more_components_than_images_are_refused_before_the_features_are_computed(
    folder: Path, tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    recipe_file = written(tmp_path / "small.toml", components=65)
    assert main(arguments(recipe_file, folder, tmp_path / "got")) == 1
    error = capfd.readouterr().err
    assert "components is 65: want no more than training images, nor than 4,096" in error
    assert "features" not in error


def metrics(output: Path) -> list[dict[str, float]]:
    return [json.loads(line) for line in (output / METRICS_FILE).read_text().splitlines()]
