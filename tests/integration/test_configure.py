"""A candidate is served, asked and loaded as the published configuration is; runs are too short to choose by."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from alexnet_client.contract import IMAGE
from deploy.loadtest import load, verdict
from deploy.loadtest.configure import configure as subject
from deploy.loadtest.configure.candidate import published
from deploy.loadtest.configure.configure import Effort, configure
from export.release import CONFIG


def test_a_candidate_is_tried_beside_the_published_configuration(
    int8_repository: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for module in (load, verdict):
        monkeypatch.setattr(module, "FEWEST", 20)
    monkeypatch.setattr(load, "WARM_UP", 0.2)
    # On a busy machine the generator is late, and the second server may be far slower than the first.
    for module, limit, value in ((verdict, "LAG", 10.0), (verdict, "BUSY", 10.0), (subject, "HOPELESS", 0.0)):
        monkeypatch.setattr(module, limit, value)
    before = {path: path.read_bytes() for path in int8_repository.rglob("*") if path.is_file()}
    images = np.random.default_rng(0).integers(0, 256, (8, *IMAGE.shape), np.uint8)
    told: list[str] = []
    effort = Effort(seconds=0.3, close=2.5, rounds=1, budget=600)
    present = published((int8_repository / "alexnet_int8" / CONFIG).read_text())
    other = replace(present, instances=present.instances + 1)
    choice = configure(int8_repository, "alexnet_int8", images, [present, other], 1.0, effort, told.append)
    assert choice.published.candidate == present
    assert [trial.candidate for trial in choice.others] == [other]
    for trial in (choice.published, *choice.others):
        assert not trial.refused
        assert len(trial.rates) == 1
    assert any(each.startswith(f"{other}: ") for each in told)
    assert choice.winner is None
    assert {path: path.read_bytes() for path in int8_repository.rglob("*") if path.is_file()} == before
