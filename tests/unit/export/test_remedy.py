"""What comes next where an artefact is missing or has failed: commands, word for word."""

from __future__ import annotations

import re
from dataclasses import replace
from pathlib import Path

import pytest

from export import remedy
from export.__main__ import main, parser
from export.artefacts import manifest
from export.artefacts.manifest import Calibration
from export.proof.proof import Data, Proof, Verdict
from export.publish import PublishError, publish
from tests.artefacts import change, make_artefact, make_pair

PETS = Path("pets")
FAILED = Proof(Verdict.FAILED, ("top-1 agreement is 97.83 %, want at least 98 %",), data=Data("pets/test", "0", 46))


@pytest.fixture
def int8(tmp_path: Path) -> manifest.Manifest:
    folder = make_artefact(tmp_path / "int8-cpu", "int8", b"eight bits", proof=FAILED, scheme="cpu")
    record = manifest.read(folder)
    return change(folder, recipe=replace(record.recipe, calibration=Calibration("max", 144, "0", "0")))


def test_a_failed_int8_has_four_remedies(int8: manifest.Manifest) -> None:
    assert remedy.of_failed(int8, PETS) == [
        "another method: `python -m export calibrate --scheme cpu --data pets` compares them, "
        "`python -m export publish fp32 int8-cpu-METHOD` takes one",
        "FP16: `python -m export fp16`, `python -m export verify fp16 --data pets`, "
        "`python -m export publish --precision fp16`",
        "FP32: `python -m export publish --precision fp32`",
        "more images: it was calibrated on 144 of 512, and each of the 46 that it was proved on weighs 2.2 %",
    ]


def test_every_command_that_is_named_is_one(int8: manifest.Manifest) -> None:
    text = " ".join([*remedy.of_failed(int8, PETS), remedy.of_missing("int8-cpu", "int8")])
    commands = re.findall(r"`python -m export ([^`]+)`", text)
    assert len(commands) == 9
    for command in commands:
        parser().parse_args(command.split())


def test_a_failed_fp16_leaves_fp32(tmp_path: Path) -> None:
    record = manifest.read(make_artefact(tmp_path / "fp16", "fp16", b"half", proof=FAILED))
    assert remedy.of_failed(record, PETS) == ["FP32: `python -m export publish --precision fp32`"]


@pytest.mark.parametrize(
    ("name", "command"),
    [
        ("fp32", "fp32"),
        ("int8-cpu", "int8 --scheme cpu"),
        ("int8-cpu-mse", "int8 --scheme cpu --method mse"),
        ("fp8-sm89", "engine fp8 --gpu sm89"),
        ("int8-tensorrt-sm89", "engine int8-tensorrt --gpu sm89"),
    ],
)
def test_an_artefacts_name_tells_the_command_that_makes_it(name: str, command: str) -> None:
    assert remedy.to_make(name) == f"python -m export {command}"
    parser().parse_args(command.split())


def test_publishing_names_what_makes_a_missing_artefact(tmp_path: Path) -> None:
    folders = make_pair(tmp_path)
    missing = tmp_path / "none" / "int8-cpu"
    with pytest.raises(PublishError) as caught:
        publish(tmp_path / "repository", [folders[0], missing], "int8")
    assert str(caught.value) == (
        f"{missing}/manifest.json is missing: `python -m export int8 --scheme cpu` makes it and "
        "`python -m export verify int8-cpu` proves it; `python -m export publish --precision fp32` publishes without it"
    )
    missing = tmp_path / "none" / "fp32"
    with pytest.raises(PublishError) as caught:
        publish(tmp_path / "repository", [missing], "fp32")
    assert str(caught.value) == (
        f"{missing}/manifest.json is missing: `python -m export fp32` makes it and "
        "`python -m export verify fp32` proves it"
    )


def test_publishing_what_failed_names_the_command_that_says_more(tmp_path: Path, int8: manifest.Manifest) -> None:
    with pytest.raises(PublishError) as caught:
        publish(tmp_path / "repository", [tmp_path / "int8-cpu"], "int8")
    assert str(caught.value) == (
        f"{tmp_path}/int8-cpu may not be published, its verdict is "
        "«failed: top-1 agreement is 97.83 %, want at least 98 %»: "
        "`python -m export verify int8-cpu` says what to do next"
    )


def test_fp32_is_published_alone_where_it_answers(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    make_pair(tmp_path / "artefacts")
    change(tmp_path / "artefacts" / "int8-cpu", proof=FAILED)
    where = ["--output", str(tmp_path / "artefacts"), "--repository", str(tmp_path / "repository")]
    assert main(["publish", *where, "--precision", "fp32"]) == 0
    assert capsys.readouterr().out == f"{tmp_path}/repository serves release 1: fp32\n"
