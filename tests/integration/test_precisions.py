"""Precisions beyond the demo's, by their commands: FP8, the paper's own network, other methods of calibration."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

from export.proof.proof import WITHOUT_DEVICE
from tests.conftest import TESTING, Built, command
from tests.engines import ROW, refused
from training import checkpoint
from training.model import AlexNet


def test_fp8_is_built_for_gpus_that_have_it(built: Built, tmp_path: Path) -> None:
    shutil.copytree(built.artefacts / "fp32", tmp_path / "fp32")
    command("export", "fp8", "--data", built.data, "--output", tmp_path)
    output = command("export", "engine", "fp8", "--gpu", "sm89", "sm120", "--output", tmp_path).stdout
    rows = {capability: facts for _, capability, *facts in ROW.findall(output)}
    assert set(rows) == {"sm89", "sm120"}
    for _, _, precisions, verdict in rows.values():
        # The first convolution's three channels are too few for FP8's kernels.
        assert (precisions, verdict) == ("1 FP16, 7 FP8", str(WITHOUT_DEVICE))
    refused(tmp_path, "engine", "fp8", "--gpu", "sm75", reason="for sm75", remedy="try another precision")


def test_the_papers_own_network_becomes_an_engine(tmp_path: Path) -> None:
    """Grouped convolutions and local response normalisation."""
    model = AlexNet("paper", 10)
    checkpoint.save(tmp_path / "checkpoint", model, checkpoint.Meta("paper", tuple("abcdefghij")))
    for precision in ("fp32", "fp16"):
        command("export", precision, "--checkpoint", tmp_path / "checkpoint", "--output", tmp_path)
    output = command("export", "engine", "fp32", "fp16", "--gpu", "sm89", "--output", tmp_path).stdout
    rows = {f"{graph}-{capability}": facts[2] for graph, capability, *facts in ROW.findall(output)}
    assert rows == {"fp32-sm89": "8 FP32", "fp16-sm89": "8 FP16"}


def test_calibration_methods_are_compared_on_the_same_images(engines: Path, built: Built, tmp_path: Path) -> None:
    """What is there and judged is kept: here what `percentile` made."""
    for name in ("fp32", "int8-tensorrt"):
        shutil.copytree(engines / "build/artefacts" / name, tmp_path / name)
    where = ["--data", built.data, "--output", tmp_path, "--checkpoint", built.checkpoint]
    where += ["--predictions", built.predictions]
    methods = ("max", "percentile")
    output = command("export", "calibrate", "--scheme", "tensorrt", "--method", *methods, *where).stdout
    rows = json.loads((tmp_path / "calibration.json").read_text())
    assert [row["method"] for row in rows] == list(methods)
    for row in rows:
        assert row["images"] == TESTING * 10
        assert f"{row['top1']:.2f}" in output
