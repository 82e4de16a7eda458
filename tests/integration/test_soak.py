"""Faults and mixed load, in small: that the campaign sees what happens, and keeps count."""

from __future__ import annotations

import shutil
from dataclasses import replace
from pathlib import Path

import pytest

from deploy.loadtest import faults, witness
from deploy.loadtest.__main__ import main
from deploy.loadtest.checked import THREADS, CheckedLoad
from deploy.loadtest.faults import Fault, Outcome, campaign
from deploy.loadtest.releases import copy_twice, make_another
from deploy.serve.server import LocalServer
from export.artefacts.manifest import hashes, read
from export.publish import switch
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
    never = Outcome(noticed, longest=9, untold=1)
    assert [each.kept for each in (told, told_late, told_lies, never)] == [True, False, False, False]
    assert faults.as_table([kept, wrong]).splitlines()[-1] == "NOT KEPT: an earthquake"


def test_a_probe_that_never_tells_is_seen(int8_repository: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(witness, "check", lambda *_: None)  # whatever happens, it is ready
    tried = {fault.name: fault for fault in faults.FAULTS}
    (outcome,) = campaign(int8_repository, 1, [tried["SIGKILL of tritonserver"]])
    assert outcome.longest > faults.TOLD
    assert not outcome.kept
    assert "| never |" in outcome.as_row()


@pytest.mark.parametrize("spoiled", ["nothing", "labels", "graph"])
def test_answers_that_are_of_two_releases_are_counted_as_wrong(
    int8_repository: Path, tmp_path: Path, spoiled: str
) -> None:
    """The graph of one with the labels of the other, and a manifest that says so."""
    link, (one, other) = copy_twice(int8_repository, tmp_path)
    make_another(other)
    served, labels = {"nothing": (one, one), "labels": (one, other), "graph": (other, one)}[spoiled]
    mixed = tmp_path / "mixed"
    shutil.copytree(served, mixed)
    for file in labels.glob("*/labels.txt"):
        shutil.copy(file, mixed / file.relative_to(labels))
    for file in mixed.glob("*/*/manifest.json"):
        record = read(file.parent)
        replace(record, files=hashes(file.parents[1], record.files)).write(file.parent)
    switch(link, mixed)
    with (
        LocalServer(link, use_free_ports=True, work=tmp_path / "work") as server,
        CheckedLoad(server.grpc_url, [one, other]) as load,
    ):
        wait_until(lambda: load.all_answered_since(load.started), "an answer for each")
    assert (load.wrong > 0) == (spoiled != "nothing")
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
