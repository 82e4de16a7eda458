"""The demo, on a handful of images: every figure is reported, and the second time nothing is done again."""

from __future__ import annotations

import json

import pytest

from tests.conftest import Built, python

STAGES = [
    "training",
    "evaluation",
    "export-fp32",
    "export-int8",
    "verification",
    "publishing",
    "served-accuracy",
]


def report(built: Built) -> dict:
    return json.loads((built.root / "build/demo/report.json").read_text())


def test_it_reports_every_figure(built: Built) -> None:
    got = report(built)
    assert set(got) == {"training", "artefacts", "served", "stages", "seconds"}
    assert got["training"]["top1"] > 75
    assert set(got["artefacts"]) == {"alexnet_fp32", "alexnet_int8"}
    for row in got["artefacts"].values():
        assert set(row) == {"sha256", "bytes", "top1", "top5", "max_abs_dp", "agreement", "cosine"}
    assert got["artefacts"]["alexnet_fp32"]["max_abs_dp"] <= 1e-5
    assert set(got["served"]) == {"alexnet_fp32", "alexnet_int8", "alexnet"}
    assert list(got["stages"]) == STAGES


def test_what_is_served_is_as_accurate_as_what_was_proved(built: Built) -> None:
    got = report(built)
    for model, offline in (
        ("alexnet_fp32", "alexnet_fp32"),
        ("alexnet_int8", "alexnet_int8"),
        ("alexnet", "alexnet_int8"),
    ):
        assert got["served"][model]["top1"] == pytest.approx(got["artefacts"][offline]["top1"], abs=0.05)


def test_it_shows_what_a_person_wants_to_see(built: Built) -> None:
    for text in ("$ python -m training train", "top-1", "embeddings: float32 [5, 4096]", "is near", "neighbours.png"):
        assert text in built.output
    assert 'alexnet_images_total{model="alexnet_int8"' in built.output
    assert len(list((built.root / "build/demo/samples").glob("*.png"))) == 5
    assert (built.root / "build/demo/neighbours.png").read_bytes().startswith(b"\x89PNG")


def test_the_second_time_everything_is_skipped_and_says_so(built: Built) -> None:
    before = report(built)
    done = python("deploy.demo", "--recipe", "smoke", "--data", built.data, cwd=built.root)
    after = report(built)
    assert done.stdout.count("skipped, ") == len(STAGES)
    assert all(stage["skipped"] for stage in after["stages"].values())
    assert after["training"] == before["training"]
    assert after["artefacts"] == before["artefacts"]
    assert after["served"] == before["served"]


def test_a_failing_stage_is_named_and_ends_it(built: Built) -> None:
    done = python("deploy.demo", "--recipe", "nonsense", "--data", built.data, cwd=built.root, status=1)
    assert "there is no recipe 'nonsense'" in done.stderr
    assert "make demo: stage training ended with status 1" in done.stderr
