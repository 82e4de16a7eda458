"""A load test that is stopped tells what it has measured."""

from __future__ import annotations

import signal
import subprocess
import sys
from pathlib import Path

import pytest

from deploy.loadtest import load_report
from tests.conftest import ROOT, environment
from tests.fake_triton import FakeTriton
from tests.waiting import PATIENCE, wait_until


@pytest.mark.parametrize("processes", [1, 2])
@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_what_was_measured_is_written_as_it_comes_and_told(
    number: signal.Signals, processes: int, tmp_path: Path
) -> None:
    report = tmp_path / "load.json"
    with FakeTriton() as server:
        # The target is a minute: nobody's pace is judged.
        asked = ["load", "--url", server.url, "--models", "alexnet_int8", "--rate", "150", "--p99", "60000"]
        asked += ["--seconds", "1", "--processes", str(processes), "--output", str(tmp_path)]
        with subprocess.Popen(
            [sys.executable, "-m", "deploy.loadtest", *asked],
            cwd=ROOT,
            env=environment(),
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        ) as process:
            wait_until(report.is_file, "the first run to be written")
            process.send_signal(number)
            said, errors = process.communicate(timeout=PATIENCE)
    assert process.returncode == 130
    assert "   stopped after " in said
    assert f"as a page: {tmp_path / 'load.html'}" in said
    assert "alexnet_int8: about 4 runs of 4 s, 15 s in all\n" in errors
    assert errors.splitlines()[-1] == "python -m deploy.loadtest load: interrupted"
    assert "Traceback" not in errors
    (model,) = load_report.read(report).models
    assert not model.ended
    assert {run.rate for run in model.runs} == {150}
