"""Pictures of one's own, 180 in three folders: the README's commands, word for word, from training to an answer."""

from __future__ import annotations

import os
import re
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from export.artefacts import artefact
from tests.conftest import ROOT, environment
from training import checkpoint, recipe

KINDS = ("columns", "rings", "rows")
PICTURES = 60


def picture(kind: str, number: int) -> Image.Image:
    """Waves across, down or around, each of other width, phase and colours, in noise."""
    generator = np.random.default_rng([KINDS.index(kind), number])
    rows, columns = np.mgrid[:96, :96]
    middle = generator.uniform(30, 66, 2)
    along = {"columns": columns, "rows": rows, "rings": np.hypot(rows - middle[0], columns - middle[1])}[kind]
    wave = np.sin(2 * along / generator.uniform(5, 9) + generator.uniform(0, 6))[..., None]
    pixels = wave * generator.uniform(60, 110, 3) + generator.uniform(90, 160, 3) + generator.normal(0, 12, (96, 96, 3))
    return Image.fromarray(pixels.clip(0, 255).astype(np.uint8))


def readme() -> tuple[list[str], list[str]]:
    """The lines of the section's two blocks, without their comments: FP32, and INT8 after it."""
    section = (ROOT / "README.md").read_text().split("## Your own pictures")[1].split("\n## ")[0]
    first, second = (
        [line.split(" #")[0].strip() for line in block.splitlines()]
        for block in re.findall(r"```sh\n(.*?)```", section, re.DOTALL)
    )
    return first, second


def shell(command: str, root: Path) -> str:
    """Run one as a user does, and return what it printed."""
    done = subprocess.run(
        ["bash", "-c", command], cwd=root, env=with_commands(), capture_output=True, text=True, check=False, timeout=300
    )
    assert done.returncode == 0, f"{command}:\n{done.stdout}\n{done.stderr}"
    return done.stdout


def with_commands() -> dict[str, str]:
    return {**environment(), "PATH": f"{Path(sys.executable).parent}:{os.environ['PATH']}"}


@pytest.fixture(scope="module")
def root(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Where a user stands, with ``pets/``; all commands but serving and asking have run there."""
    root = tmp_path_factory.mktemp("own")
    for kind in KINDS:
        (root / "pets" / kind).mkdir(parents=True)
        for number in range(PICTURES):
            picture(kind, number).save(root / "pets" / kind / f"{number:02d}.jpg")
    (root / "build").mkdir()
    (ROOT / "build" / "downloads").mkdir(exist_ok=True)
    (root / "build" / "downloads").symlink_to(ROOT / "build" / "downloads")
    first, second = readme()
    (root / "printed.txt").write_text("".join(shell(command, root) for command in (*first[:4], *second[:2])))
    return root


def test_six_commands_lead_to_an_answer() -> None:
    first, _ = readme()
    assert len(first) == 6
    assert first[4:] == ["python -m deploy.serve", "alexnet-client classify pets/*/*.jpg"]


def test_sizes_follow_the_pictures(root: Path) -> None:
    meta = checkpoint.load(root / "build/checkpoint").meta
    assert meta.labels == KINDS
    assert meta.recipe == recipe.load("transfer", images=3 * 48).as_dict()
    assert [meta.recipe[key] for key in ("validation", "components", "batch_size", "lr")] == [14, 65, 64, 0.05]


def test_both_precisions_are_proved_on_a_fifth(root: Path) -> None:
    for name in ("fp32", "int8-cpu"):
        proof = artefact.read(root / "build/artefacts" / name).proof
        assert proof.passed
        assert (proof.data.name, proof.data.images) == ("pets/test", 36)
        assert proof.accuracy.top1 > 95


def test_few_calibration_images_are_in_the_proof_and_printed(root: Path) -> None:
    record = artefact.read(root / "build/artefacts/int8-cpu")
    assert record.recipe.calibration.images == 144
    assert record.proof.checks == ("calibrated on 144 images, fewer than the 512 that are wanted",)
    printed = (root / "printed.txt").read_text()
    assert "alexnet_int8: calibrated on 144 images; unproved: run `python -m export verify`\n" in printed
    assert "  calibrated on 144 images, fewer than the 512 that are wanted\n" in printed


@pytest.fixture
def url(root: Path) -> Iterator[str]:
    """Of the README's server, on free ports: others are there, too."""
    command = f"exec {readme()[0][4]} --free-ports"
    with subprocess.Popen(
        ["bash", "-c", command],
        cwd=root,
        env=with_commands(),
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
        text=True,
    ) as server:
        try:
            lines = iter(server.stdout.readline, "")
            yield next(line.split()[1] for line in lines if line.startswith("  gRPC"))
        finally:
            server.send_signal(signal.SIGINT)
            server.communicate(timeout=60)


def test_the_server_answers_by_the_folders_names(root: Path, url: str) -> None:
    answers = shell(f"{readme()[0][5]} --url {url} --timeout 60", root).splitlines()
    wanted = [f"pets/{kind}/{number:02d}.jpg: {kind} " for kind in KINDS for number in range(PICTURES)]
    assert np.mean([line.startswith(start) for line, start in zip(answers, wanted, strict=True)]) > 0.97


def test_int8_is_the_next_release(root: Path) -> None:
    assert "serves release 2: fp32, int8-cpu" in shell(readme()[1][2], root)
    assert (root / "build/repository/alexnet_int8/2/model.onnx").is_file()
