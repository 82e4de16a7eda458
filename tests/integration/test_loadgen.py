"""LoadGen drives the real server: a verdict of its own, and the accuracy that was proved offline."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import psutil
import pytest

from deploy.loadtest.__main__ import main
from deploy.loadtest.loadgen.process import run
from deploy.loadtest.loadgen.settings import Settings
from deploy.serve.server import LocalServer
from tests.certificates import Certificates
from tests.conftest import ROOT, Built, command, environment
from tests.fake_triton import FakeTriton
from tests.patterns import Patterns
from tests.waiting import wait_until

LOGS = {"mlperf_log_accuracy.json", "mlperf_log_detail.txt", "mlperf_log_summary.txt", "mlperf_log_trace.json"}


def loadgen(server: LocalServer, built: Built, root: Path, *options: object, status: int = 0) -> str:
    asked = ("loadgen", "--url", server.grpc_url, "--repository", built.repository, "--data", built.data)
    done = command("deploy.loadtest", *asked, "--output", root, *options, status=status)
    assert "MLPerf result" not in done.stdout
    return done.stdout


@pytest.mark.parametrize(("model", "scenario"), [("alexnet_int8", "SingleStream"), ("alexnet", "Offline")])
def test_the_served_accuracy_is_the_proved_one(
    server: LocalServer, built: Built, tmp_path: Path, model: str, scenario: str
) -> None:
    said = loadgen(server, built, tmp_path, "--accuracy", "--model", model, "--scenario", scenario)
    assert f"LoadGen-driven, {model}, {scenario}, accuracy over 200 images" in said
    assert said.rstrip().endswith(": equal")
    folder = tmp_path / "loadgen" / f"{model}-{scenario.lower()}-accuracy"
    assert {path.name for path in folder.iterdir()} == LOGS
    assert [path.name for path in (tmp_path / "loadgen").iterdir()] == [folder.name]


def test_a_run_has_loadgens_own_verdict(server: LocalServer, built: Built, tmp_path: Path) -> None:
    # 64 queries are the fewest by which LoadGen can be sure of the 90th percentile that it asks of SingleStream.
    said = loadgen(
        server, built, tmp_path, "--scenario", "SingleStream", "--rate", 100, "--duration", 0.5, "--queries", 80
    )
    assert "LoadGen: VALID: p90, ms " in said
    assert "scaled down: MLPerf's rules want 600 s" in said


def test_what_is_not_kept_is_invalid(server: LocalServer, built: Built, tmp_path: Path) -> None:
    hopeless = ("--p99", 0.01, "--rate", 20, "--duration", 0.5, "--queries", 10)
    said = loadgen(server, built, tmp_path, "--scenario", "Server", *hopeless, status=1)
    assert "LoadGen: INVALID (p99 is missed" in said


def test_a_run_that_fails_leaves_nothing(tmp_path: Path) -> None:
    """Nobody listens: every request fails, is told to LoadGen, and counted."""
    ended = run("127.0.0.1:1", "alexnet", [b""], Settings("Offline", accuracy=True), tmp_path / "logs")
    assert sum(ended.failures.values()) == 1


def test_a_server_that_speaks_tls_is_asked_as_the_environment_says(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    certificates = Certificates(tmp_path)
    for name in ("ca", "certificate", "key"):
        monkeypatch.setenv(f"ALEXNET_TLS_{name.upper()}", str(getattr(certificates.mutual, name)))
    few = ("--scenario", "SingleStream", "--duration", "0.1", "--queries", "64")
    with FakeTriton(credentials=certificates.server(ask_for_clients=True)) as server:
        status = main(["loadgen", "--url", server.url, "--output", str(tmp_path / "bench"), *few])
    said = capsys.readouterr().out
    assert "LoadGen: VALID: p90, ms " in said
    assert "samples failed" not in said
    assert status == 0


def test_a_killed_run_leaves_no_process_and_no_file(tmp_path: Path) -> None:
    """LoadGen cannot be interrupted, so its process is ended; whoever kills the command cannot do that for it."""
    code = (
        "import sys; from pathlib import Path; from deploy.loadtest.loadgen import process, settings;"
        "process.run(sys.argv[1], 'alexnet', [open(sys.argv[2], 'rb').read()], "
        "settings.Settings('SingleStream', seconds=600), Path(sys.argv[3]))"
    )
    logs, file = tmp_path / "loadgen" / "run", tmp_path / "image.png"
    file.write_bytes(Patterns().file(0))
    with FakeTriton() as server:
        asked = [server.url, str(file), str(logs)]
        with subprocess.Popen(
            [sys.executable, "-c", code, *asked], cwd=ROOT, env=environment(), stderr=subprocess.DEVNULL
        ) as process:
            wait_until(lambda: len(server.requests) > 10, "LoadGen to ask")
            children = psutil.Process(process.pid).children()
            assert children
            assert list(logs.parent.iterdir())
            process.kill()
        wait_until(lambda: not any(child.is_running() for child in children), "LoadGen's process to end")
    assert not list(logs.parent.iterdir())
