"""Readiness as a command, against a scripted server."""

from __future__ import annotations

import socket
from collections.abc import Iterator

import grpc
import pytest

from alexnet_client.contract import OVERLOAD_SIGNS
from deploy.serve.probe import NotReady, main, wait_until_ready
from tests.fake_triton import FakeTriton, Scripted


@pytest.fixture
def server() -> Iterator[FakeTriton]:
    with FakeTriton() as server:
        yield server


def run(capsys: pytest.CaptureFixture[str], *arguments: str) -> tuple[int, str]:
    status = main(list(arguments))
    said = capsys.readouterr()
    return status, (said.err if status else said.out).strip()


def test_a_port_where_nobody_listens(capsys: pytest.CaptureFixture[str]) -> None:
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        url = f"127.0.0.1:{free.getsockname()[1]}"
    for more in ([], ["--live"]):
        status, said = run(capsys, "--url", url, "--timeout", "0.3", *more)
        assert status == 1
        assert f"no server answers at {url} within 0.3 s" in said


def test_every_model_is_asked(server: FakeTriton, capsys: pytest.CaptureFixture[str]) -> None:
    status, said = run(capsys, "--url", server.url)
    assert status == 0
    assert said.startswith("ready: ")
    assert server.calls["ModelInfer"] == len(said.removeprefix("ready: ").split(", "))
    assert run(capsys, "--url", server.url, "--live") == (0, "live")


def test_full_is_not_dead(server: FakeTriton, capsys: pytest.CaptureFixture[str]) -> None:
    for words in OVERLOAD_SIGNS:
        server.script(then=Scripted(grpc.StatusCode.UNAVAILABLE, f"{words}: later"))
        assert run(capsys, "--url", server.url)[0] == 0


@pytest.mark.parametrize(
    "answer",
    [Scripted(grpc.StatusCode.INTERNAL, "Stub process is not healthy"), Scripted(seconds=5)],
    ids=["a dead backend", "one that hangs"],
)
def test_a_model_that_does_not_answer_is_not_ready(
    server: FakeTriton, capsys: pytest.CaptureFixture[str], answer: Scripted
) -> None:
    server.script(then=answer)
    status, said = run(capsys, "--url", server.url, "--timeout", "0.5")
    assert status == 1
    assert f"the server at {server.url} does not answer as it should" in said
    assert run(capsys, "--url", server.url, "--live") == (0, "live")


def test_one_waits_for_what_is_not_ready_yet_and_no_longer_than_one_wants(server: FakeTriton) -> None:
    dead = Scripted(grpc.StatusCode.INTERNAL, "Stub process is not healthy")
    server.script(dead)
    wait_until_ready(server.url, 60)
    assert server.calls["ServerLive"] == 2
    server.script(then=dead)
    with pytest.raises(NotReady, match="not healthy"):
        wait_until_ready(server.url, 0)
