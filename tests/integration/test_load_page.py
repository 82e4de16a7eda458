"""A real server under a real load; the page of what was measured, as a browser shows it."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Iterator
from dataclasses import replace
from html.parser import HTMLParser
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from alexnet_client.contract import IMAGE
from deploy.loadtest import load, load_report
from deploy.loadtest.__main__ import main
from deploy.loadtest.arrivals import arrivals, steady
from deploy.loadtest.load import Load, as_report
from deploy.loadtest.load_report import Closed
from deploy.loadtest.open_loop import OK, Outcome, offer
from deploy.loadtest.search import Run, Search
from deploy.loadtest.served import describe
from deploy.loadtest.server_time import between, count, total
from deploy.loadtest.verdict import Verdict
from deploy.loadtest.workload import workload
from deploy.serve.server import LocalServer

MODEL = "alexnet_int8"
PLOTS = ("curve", "percentiles", "time", "split", "batches")
#: Of a picture: an empty box has two or three; lines, marks and smoothed text have many.
COLOURS = 40
#: Forbids the page to run or to fetch anything: undone for the test's own script.
POLICY = '<meta http-equiv="Content-Security-Policy"'
#: Says where each plot is, for the picture to be cut up.
WHERE = """<script>addEventListener("load", () => { for (const svg of document.querySelectorAll("svg")) {
const box = svg.getBoundingClientRect(), mark = document.createElement("i");
mark.className = "box"; mark.title = [svg.parentElement.id, box.x, box.y, box.right, box.bottom].join(" ");
document.body.append(mark); } })</script>"""


class Boxes(HTMLParser):
    """Plot -> left, top, right and bottom, in pixels."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.found: dict[str, tuple[int, ...]] = {}
        self.feed(text)

    def handle_starttag(self, tag: str, attributes: list[tuple[str, str | None]]) -> None:
        given = dict(attributes)
        if given.get("class") == "box":
            name, *edges = (given["title"] or "").split()
            self.found[name] = tuple(round(float(edge)) for edge in edges)


def browse(folder: Path, page: Path, picture: Path) -> str:
    """Open a page in Chromium and take its picture; returns it as it has become."""
    command = [Path(sys.executable).with_name("chromium"), "--headless", "--no-sandbox", "--disable-gpu"]
    command += ["--disable-background-networking", "--disable-dev-shm-usage", "--hide-scrollbars", "--dump-dom"]
    command += [f"--screenshot={picture}", f"--user-data-dir={folder}", "--window-size=1280,3000", page.as_uri()]
    done = subprocess.run(command, capture_output=True, text=True, check=True, timeout=120)
    return done.stdout


@pytest.fixture(scope="module")
def server(int8_repository: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[LocalServer]:
    with LocalServer(int8_repository, use_free_ports=True, work=tmp_path_factory.mktemp("triton")) as running:
        yield running


def measured(server: LocalServer) -> load_report.LoadReport:
    """A second at each of some rates. The verdicts are given: how fast this machine is does not matter here."""
    work = workload(MODEL, list(np.random.default_rng(0).integers(0, 256, (4, *IMAGE.shape), np.uint8)))

    def run(rate: float, seed: int) -> Outcome:
        before = count(server.metrics_url)
        outcome = offer(server.grpc_url, work, arrivals(steady(rate, 1.0), seed=seed), 20)
        return replace(outcome, server=between(before, count(server.metrics_url)))

    runs = [Run(40.0, run(40.0, seed), Verdict((), ()), confirms=True) for seed in range(3)]
    beyond = run(80.0, 3)
    described = describe(server.grpc_url, [MODEL], started=True)
    found = Load(
        work, 0.01, Search(0.1, [Run(80.0, beyond, Verdict((), ("slow",))), *runs], 40.0), beyond, Closed(2, 40.0, 0.03)
    )
    return as_report([found], described)


def test_every_plot_of_a_real_report_is_drawn(server: LocalServer, tmp_path: Path) -> None:
    report = measured(server)
    (model,) = report.models
    (inside,) = total((run.server for run in model.confirmed), MODEL)
    asked = sum(run.statuses[OK] for run in model.confirmed)
    assert asked <= inside.requests <= asked + 100  # and signs of life
    # Triton and our backend count one after the other: a sign of life may be between, at both ends of each run.
    assert abs(sum(inside.batches.values()) - inside.executions) <= 2 * len(model.confirmed)
    assert report.server.models[MODEL]["max_batch_size"] == 128
    load_report.write(report, tmp_path / "load.json")

    assert main(["page", str(tmp_path / "load.json")]) == 0
    before, policy, after = (tmp_path / "load.html").read_text().partition(POLICY)
    assert policy
    page, picture = tmp_path / "marked.html", tmp_path / "page.png"
    page.write_text(f"{before}{WHERE}<meta {after}")
    boxes = Boxes(browse(tmp_path / "profile", page, picture)).found
    assert set(boxes) == {f"{MODEL}-{plot}" for plot in PLOTS}
    with Image.open(picture) as shown:
        for name, (left, top, right, bottom) in boxes.items():
            assert right - left > 400, name
            assert bottom - top > 150, name
            # Axes and their labels are at the edges.
            wide, high = (right - left) // 8, (bottom - top) // 6
            inner = shown.convert("RGB").crop((left + wide, top + high, right - wide, bottom - high))
            assert len(inner.getcolors(1 << 24) or []) > COLOURS, name

    assert main(["compare", str(tmp_path / "load.json"), str(tmp_path / "load.json")]) == 0
    assert (tmp_path / "compare.html").read_text().count("<svg") == 2 * len(PLOTS)


def test_one_run_from_the_command_line(server: LocalServer, tmp_path: Path, monkeypatch, capsys) -> None:
    """Nobody's pace is judged: the target is a minute, and who was late is not asked."""
    monkeypatch.setattr(load, "WARM_UP", 0.2)
    asked = ("offer", "--url", server.grpc_url, "--metrics", server.metrics_url, "--model", "alexnet", "--bad", "0.2")
    how = ("--rate", "30", "--seconds", "1", "--arrivals", "gamma", "--p99", "60000", "--output", str(tmp_path))
    assert main([*asked, *how]) == 3
    said = capsys.readouterr().out
    assert "unanswered       0.00 %\n" in said  # the bad are refused, which is what is wanted
    assert "\nINVALID: " in said
    (model,) = load_report.read(tmp_path / "offer.json").models
    (run,) = model.runs
    (decoder, *_) = (each for each in run.server or () if each.model == "alexnet_decode")
    assert decoder.requests > 0
    assert "gamma, variation 2" in (tmp_path / "offer.html").read_text()
