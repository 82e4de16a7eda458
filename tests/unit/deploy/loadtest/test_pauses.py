"""The load that compares every answer finds one that is another image's."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from alexnet_client.preprocess import decode
from deploy.loadtest import pauses
from deploy.loadtest.pauses import ENSEMBLE, NETWORK, OTHER, Load
from tests import graphs
from tests.fake_triton import FakeTriton, outputs
from tests.waiting import wait_until


@pytest.fixture
def repository(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Two networks, which are not the fake server's."""
    monkeypatch.setattr(pauses, "IMAGES", 4)
    for model in (NETWORK, OTHER):
        graphs.tiny(tmp_path / model / "1" / "model.onnx")
    return tmp_path


def asked(load: Load) -> pauses.Tally:
    with load.running() as tally:
        wait_until(lambda: load.all_answered_since(0.0) and tally.answered > 8, "answers of every model")
    return tally


def test_what_is_right_is_right_and_all_models_are_asked(repository: Path) -> None:
    with FakeTriton() as server:
        load = Load(server.url, repository)
        load._right |= {
            model: [outputs(decode(file)[None])[1] for file in load._images[ENSEMBLE]]
            for model in (NETWORK, OTHER, ENSEMBLE)
        }
        tally = asked(load)
    assert not tally.wrong
    assert not tally.failed


def test_another_images_answer_is_wrong_and_the_command_says_so(repository: Path, capsys, monkeypatch) -> None:
    """Believed, because its checksum is right; told by its numbers."""
    with FakeTriton() as server:
        load = Load(server.url, repository)
        load._right = {model: [np.roll(each, 1, axis=1) for each in right] for model, right in load._right.items()}
        tally = asked(load)
    assert tally.wrong == tally.answered
    from deploy.loadtest.__main__ import main

    monkeypatch.setattr(pauses, "pauses", lambda *_, **__: tally)
    assert main(["pauses"]) == 1
    assert f"{tally.answered} answers compared, {tally.wrong} wrong" in capsys.readouterr().out


def test_what_is_not_believed_is_counted_apart(repository: Path) -> None:
    with FakeTriton() as server:
        load = Load(server.url, repository)
        with load.running() as tally:
            wait_until(lambda: load.all_answered_since(0.0), "answers of every model")
            server.late = True
            wait_until(lambda: tally.failed["AnswerMismatch"] > 3, "answers that are not believed")
