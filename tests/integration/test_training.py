"""What a training run leaves."""

import json

from tests.conftest import Built
from training import recipe


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
