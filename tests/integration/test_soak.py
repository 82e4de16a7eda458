"""Faults and mixed load, in small: that the campaign sees what happens, and keeps count."""

from __future__ import annotations

from pathlib import Path

import pytest

from deploy.loadtest import faults
from deploy.loadtest.__main__ import main
from deploy.loadtest.checked import THREADS, CheckedLoad
from deploy.loadtest.faults import Fault, Outcome, campaign
from deploy.serve.server import LocalServer
from tests.waiting import wait_until


def test_a_fault_that_everybody_notices_and_one_that_nobody_does(int8_repository: Path) -> None:
    tried = {fault.name: fault for fault in faults.FAULTS}
    door, bad = campaign(
        int8_repository, 1, [tried["SIGKILL of the door"], tried["requests with a batch of 0 and of 2^62, 5 s"]]
    )
    assert door.failed > 0
    assert bad.failed == 0
    assert door.answered > THREADS
    assert door.wrong == bad.wrong == 0
    assert door.longest > 0


def test_a_promise_that_is_broken_is_said_so() -> None:
    fault = Fault("an earthquake", 10, lambda scene: None, unnoticed=True)
    noticed = Fault("thunder", 10, lambda scene: None)
    kept, late, failed, wrong = (Outcome(fault, *seen) for seen in ((9, 0), (11, 0), (1, 1), (1, 0, 5, 1)))
    told, told_late, told_lies = Outcome(noticed, told=2.0), Outcome(noticed, told=4.0), Outcome(fault, told=1.0)
    assert [each.kept for each in (kept, late, failed, wrong)] == [True, False, False, False]
    assert [each.kept for each in (told, told_late, told_lies)] == [True, False, False]
    assert faults.as_table([kept, wrong]).splitlines()[-1] == "NOT KEPT: an earthquake"


def test_wrong_answers_are_counted(int8_repository: Path, tmp_path: Path) -> None:
    with LocalServer(int8_repository, use_free_ports=True, work=tmp_path / "work") as server:
        load = CheckedLoad(server.grpc_url, int8_repository)
        load._questions[0][2][:] += 1  # as if the server were wrong
        with load:
            wait_until(lambda: load.all_answered_since(load.started), "an answer for each")
    assert load.wrong > 0
    assert load.failed == 0


def test_a_soak_sees_the_servers_figures(
    int8_repository: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    arguments = ["soak", "--repository", str(int8_repository), "--minutes", "0.15", "--releases", "1"]
    assert main([*arguments, "--output", str(tmp_path)]) == 0
    said = capsys.readouterr().out
    assert "1 releases" in said
    assert ", 0 wrong" in said
    header, *samples = (tmp_path / "soak.csv").read_text().splitlines()
    columns = header.split(",")
    for name in ("memory", "threads", "descriptors", "shared_memory", "log"):
        assert float(samples[-1].split(",")[columns.index(name)]) > 0
