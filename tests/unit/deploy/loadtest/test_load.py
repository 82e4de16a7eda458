"""What is printed and kept of a search: figures of the runs that confirm it, and what too much looks like."""

from __future__ import annotations

import json
from dataclasses import replace
from functools import partial

import numpy as np
import pytest

from alexnet_client.contract import IMAGE
from deploy.loadtest import load as subject
from deploy.loadtest import verdict
from deploy.loadtest.load import Load, as_report, as_text
from deploy.loadtest.load_report import Closed, Server, as_json
from deploy.loadtest.open_loop import OK, Outcome
from deploy.loadtest.page import sentence
from deploy.loadtest.search import Run, Search, confirm
from deploy.loadtest.verdict import judge
from deploy.loadtest.workload import workload
from tests.certificates import Certificates
from tests.fake_triton import FakeTriton, Scripted
from tests.unit.deploy.loadtest.test_verdict import outcome

WORKLOAD = workload("alexnet_int8", [np.zeros(IMAGE.shape, np.uint8)])


def found(beyond: Outcome) -> Load:
    good = outcome()
    runs = [Run(200.0, outcome(latency=0.4), judge(outcome(latency=0.4), 0.1))]
    runs += [Run(100.0, good, judge(good, 0.1), confirms=True)] * 3
    return Load(WORKLOAD, 0.01, Search(0.1, runs, 100.0), beyond, Closed(2, 99.0, 0.03))


def test_too_much_is_told_by_the_open_loop_and_hidden_by_the_closed() -> None:
    good = outcome(2000)
    growing = replace(good, latency=np.linspace(0.02, 5, 2000))
    text = as_text([found(growing)])
    head, row = text.splitlines()[:2]
    assert head.split()[:3] == ["model", "alone", "ms"]
    assert row.split()[:4] == ["alexnet_int8", "10.0", "100", "100.0"]
    assert 15 < float(row.split()[4]) < 25
    opened, closed = text.splitlines()[-2:]
    assert opened.startswith("alexnet_int8, open")
    assert "latency grows" in opened
    assert "its callers wait" in closed
    refusing = replace(good, status=np.where(np.arange(2000) % 2, "OK", "OVERLOADED"))
    assert "50 % refused" in as_text([found(refusing)])
    assert "held" in as_text([found(good)])


def test_everything_is_kept() -> None:
    nothing = replace(outcome(), status=np.full(1000, "OVERLOADED"))
    report = json.loads(as_json(as_report([found(nothing)], Server(started=True))))
    (model,) = report["models"]
    assert [run["verdict"]["missed"] != [] for run in model["runs"]] == [True, False, False, False]
    assert model["beyond"]["p99_seconds"] is None
    assert model["beyond"]["statuses"] == {"OVERLOADED": 1000}
    assert len(report["commit"]) == 40
    assert report["versions"]["numpy"] == np.__version__


def test_a_model_that_keeps_nothing_is_said_so() -> None:
    slow = outcome(latency=0.4)
    runs = [Run(2.5, slow, judge(slow, 0.1), confirms=True), Run(2.5, outcome(), judge(outcome(), 0.1), confirms=True)]
    none = Load(WORKLOAD, 0.01, Search(0.1, runs, 0.0), None, None)
    p99 = 1000 * slow.percentile(99)
    assert as_text([none]).endswith(f"   none is kept: at 2.5/s missed: p99 {p99:.0f} ms")
    stopped = Load(WORKLOAD, 0.01, Search(0.1, runs, 0.0, ended=False), None, None)
    assert as_text([stopped]).endswith("   stopped after 2 runs, the last at 2.5/s: VALID")
    (model,) = as_report([stopped], Server(started=True)).models
    assert sentence(model) == "The search for alexnet_int8 was stopped before it came to its end."


def test_a_running_server_is_warmed_asked_and_overloaded(monkeypatch: pytest.MonkeyPatch, tmp_path) -> None:
    """The search itself has tests of its own."""
    rates: list[float] = []

    def at_once(offer, p99: float, first: float, heard) -> Search:
        rates.append(first)
        found = Search(p99, [Run(40.0, offer(40.0), judge(outcome(), p99), confirms=True)], 40.0)
        heard(found)
        return found

    monkeypatch.setattr(subject, "search", at_once)
    monkeypatch.setattr(subject, "FEWEST", 20)
    monkeypatch.setattr(subject, "WARM_UP", 0.1)
    with FakeTriton() as server:
        server.script(then=Scripted(seconds=0.02))
        (load,), said = subject.measure_load(server.url, tmp_path, ["alexnet_int8"], 0.05, 0.5, 1)
    assert not said.started
    assert 0.02 < load.alone < 0.2
    assert load.found.p99 == pytest.approx(5 * load.alone)  # which is more than was wanted
    assert rates == [0.5 / load.alone]
    assert load.beyond.offered == pytest.approx(80, rel=0.5)
    assert load.closed.throughput > 0


def test_a_given_rate_alone_is_offered_to_a_server_that_asks_for_certificates(
    monkeypatch: pytest.MonkeyPatch, tmp_path, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(subject, "FEWEST", 20)
    monkeypatch.setattr(subject, "WARM_UP", 0.1)
    monkeypatch.setattr(subject, "confirm", partial(confirm, repeats=2))
    monkeypatch.setattr(verdict, "FEWEST", 20)
    certificates = Certificates(tmp_path)
    tls = replace(certificates.mutual, server_name="triton.example")
    with FakeTriton(credentials=certificates.server(ask_for_clients=True)) as server:
        (load,), _ = subject.measure_load(server.url, tmp_path, ["alexnet_int8"], 60.0, 0.2, 1, rate=100.0, tls=tls)
    assert "alexnet_int8: about 4 runs of 0 s, 1 s in all\n" in capsys.readouterr().err
    assert (load.found.rate, load.beyond, load.closed) == (100.0, None, None)
    assert [run.rate for run in load.found.runs] == [100.0] * 2
    assert all(run.outcome.statuses.keys() == {OK} for run in load.found.runs)
    assert "times that" not in as_text([load])
