"""A server that does not start, or dies for good: said in one line, and nothing stays."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import threading
from dataclasses import replace
from pathlib import Path

import psutil
import pytest

from alexnet_client import AlexNetClient, AlexNetError, Unavailable
from deploy.serve import processes
from deploy.serve import server as supervisor
from deploy.serve.installation import Installation, find
from deploy.serve.process import ServerError
from deploy.serve.server import LocalServer
from deploy.serve.times import Times
from tests.conftest import ROOT, Built
from tests.integration.test_supervisor import nothing_left
from tests.waiting import PATIENCE, wait_until
from training.data.open import open_split


def standing_in(monkeypatch: pytest.MonkeyPatch, folder: Path, body: str) -> None:
    """Start a script in tritonserver's place."""
    script = folder / "tritonserver"
    script.write_text(f"#!/bin/sh\n{body}\n")
    script.chmod(0o755)
    monkeypatch.setattr(supervisor, "find", lambda work: replace(find(work), binary=script))


def test_a_server_that_ends_at_once_is_told_with_its_log(
    int8_repository: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    standing_in(monkeypatch, tmp_path, "echo no such option; exit 1")
    server = LocalServer(int8_repository, use_free_ports=True, work=tmp_path / "work")
    with pytest.raises(ServerError, match=r"tritonserver ended while starting: see .*tritonserver.log"):
        server.start()
    assert "no such option" in server.log_file.read_text()
    assert server.pid is None


def test_one_that_dies_while_it_starts_is_followed_by_another(
    int8_repository: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    binary = find(tmp_path / "work").binary
    standing_in(monkeypatch, tmp_path, f'mkdir {tmp_path}/died 2>/dev/null && kill -ABRT $$; exec {binary} "$@"')
    with LocalServer(int8_repository, use_free_ports=True, work=tmp_path / "work") as server:
        assert server.models
        assert not server.refused
    assert (tmp_path / "died").is_dir()


def test_a_server_that_never_answers_is_given_up(
    int8_repository: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    standing_in(monkeypatch, tmp_path, "exec sleep 60")
    server = LocalServer(int8_repository, use_free_ports=True, work=tmp_path / "work", times=Times(start=0.5))
    with pytest.raises(ServerError, match="the server does not answer after 0.5 s"):
        server.start()
    assert server.pid is None


def test_one_that_does_not_even_stop_is_killed(
    int8_repository: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    standing_in(monkeypatch, tmp_path, "trap '' TERM; while :; do sleep 0.2; done")
    times = Times(start=0.5, stop=1)
    server = LocalServer(int8_repository, use_free_ports=True, work=tmp_path / "work", times=times)
    with pytest.raises(ServerError, match="does not answer"):
        server.start()
    assert server.pid is None


def test_a_model_that_a_revival_lacks_is_served_again(
    int8_repository: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What failed to load by bad luck, for want of time or memory, may not the next time; the rest serves meanwhile."""
    starts, lost = tmp_path / "starts", "alexnet_int8"
    body = f"""
        echo >> {starts}
        for each; do case $each in --model-repository=*) view=${{each#*=}};; esac; done
        [ $(wc -l < {starts}) = 2 ] && rm $view/{lost}/*/model.onnx
        exec {find(tmp_path / "work").binary} "$@"
    """
    standing_in(monkeypatch, tmp_path, body)
    with LocalServer(int8_repository, use_free_ports=True, work=tmp_path / "work") as server:
        assert lost in server.models
        os.kill(server.pid, signal.SIGKILL)
        wait_until(lambda: len(starts.read_text()) >= 3, "a third tritonserver")
        wait_until(lambda: lost in server.models, "all models")


def test_starting_can_be_given_up(int8_repository: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    standing_in(monkeypatch, tmp_path, "exec sleep 60")
    server = LocalServer(int8_repository, use_free_ports=True, work=tmp_path / "work")
    timer = threading.Timer(0.5, server.cancel)
    timer.start()
    with pytest.raises(ServerError, match="stopped while starting"):
        server.start()
    timer.join()


def test_ctrl_c_while_starting_ends_at_once_and_well(int8_repository: Path) -> None:
    command = [sys.executable, "-m", "deploy.serve", "--repository", str(int8_repository), "--free-ports"]
    running = subprocess.Popen(command, cwd=ROOT, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
    wait_until(lambda: bool(psutil.Process(running.pid).children()), "tritonserver")
    running.send_signal(signal.SIGINT)
    output, errors = running.communicate(timeout=PATIENCE)
    assert (running.returncode, output) == (0, "stopped\n"), errors
    wait_until(lambda: nothing_left(f"{processes.PREFIX}{running.pid}-"), "shared memory cleared")


def test_one_that_does_not_start_again_is_tried_again_until_it_does(
    built: Built, int8_repository: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    times = Times(backoff=(0.0, 0.1))
    with LocalServer(int8_repository, use_free_ports=True, work=tmp_path / "work", times=times) as server:
        tries: list[Path] = []

        def broken(work: Path) -> Installation:
            tries.append(work)
            return replace(find(work), binary=Path("/bin/false"))

        monkeypatch.setattr(supervisor, "find", broken)
        os.kill(server.pid, signal.SIGKILL)
        wait_until(lambda: len(tries) > 3, "four attempts")
        with AlexNetClient(server.grpc_url, "alexnet_int8") as client:
            with pytest.raises(Unavailable):
                client.health()
            monkeypatch.undo()
            wait_until(lambda: is_ready(client), "ready")
            assert client.classify(open_split(built.data, "test").file(0), top_k=1)


def test_a_door_that_dies_is_put_back(int8_repository: Path, tmp_path: Path) -> None:
    with LocalServer(int8_repository, use_free_ports=True, work=tmp_path / "work") as server:
        first = server.pid
        os.kill(server._door.pid, signal.SIGKILL)
        with AlexNetClient(server.grpc_url) as client:
            wait_until(lambda: is_ready(client), "ready")
        assert server.pid == first


def is_ready(client: AlexNetClient) -> bool:
    try:
        return client.health().models == ("alexnet_int8", "alexnet")
    except AlexNetError:
        return False
