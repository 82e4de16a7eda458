"""A quick look at a server counts what was answered, how long that took, and what failed."""

from __future__ import annotations

import json

import grpc
import numpy as np
import pytest

from alexnet_client import AlexNetClient, InvalidRequest, Retry
from alexnet_client.__main__ import main
from alexnet_client._bench import bench
from tests.fake_triton import FakeTriton, Scripted


@pytest.fixture
def server():
    with FakeTriton() as running:
        yield running


def client(server: FakeTriton) -> AlexNetClient:
    return AlexNetClient(server.url, "alexnet_int8", retry=Retry(attempts=1))


def test_callers_wait_for_their_answers(server: FakeTriton) -> None:
    server.script(then=Scripted(seconds=0.02))
    with client(server) as asked:
        seen = bench(asked, 0.3, concurrency=3)
    assert server.peak == 3
    assert len(seen.latencies) == len(server.requests) - 1  # the first does not count
    assert 3 <= len(seen.latencies) <= 3 * 0.3 / 0.02 + 3
    assert min(seen.latencies) >= 0.02


def test_a_rate_waits_for_none_and_counts_from_when_a_call_was_due(server: FakeTriton) -> None:
    """One answer after the other, 50 ms each, where 100 a second are due: the last waits for all before it."""
    slow = FakeTriton(workers=1)
    with slow as running, client(running) as asked:
        running.script(then=Scripted(seconds=0.05))
        seen = bench(asked, 0.1, rate=100)
    assert len(seen.latencies) == 10
    assert max(seen.latencies) > 10 * 0.05 - 0.1
    assert min(seen.latencies) >= 0.05


def test_failures_are_counted_by_their_class(server: FakeTriton) -> None:
    answers = [Scripted(), Scripted(grpc.StatusCode.INTERNAL, "broken"), Scripted(grpc.StatusCode.UNAVAILABLE, "no")]
    server.script(*answers)
    with client(server) as asked:
        seen = bench(asked, 0.1, rate=100)
    assert seen.errors == {"ServerError": 1, "Unavailable": 1}
    assert len(seen.latencies) == 8
    assert "failed: 1 x ServerError" in str(seen)


def test_images_go_in_turn(server: FakeTriton) -> None:
    shades = [np.full((224, 224, 3), shade, np.uint8) for shade in (1, 2)]
    with client(server) as asked:
        bench(asked, 0.1, rate=100, images=shades)
    firsts = [request.raw_input_contents[0][0] for request in server.requests[1:]]
    assert (firsts.count(1), firsts.count(2)) == (5, 5)


@pytest.mark.parametrize("wrong", [{"rate": 0.0}, {"concurrency": 0}, {"rate": float("inf")}])
def test_numbers_that_cannot_be_meant_are_refused(server: FakeTriton, wrong: dict) -> None:
    with client(server) as asked, pytest.raises(InvalidRequest, match=f"{next(iter(wrong))} is .*: want more than 0"):
        bench(asked, 1, **wrong)


def test_the_command_prints_a_line_for_programs_or_people(server: FakeTriton, capsys: pytest.CaptureFixture) -> None:
    asked = ["bench", "--url", server.url, "--model", "alexnet_int8", "--seconds", "0.1", "--rate", "50"]
    assert main([*asked, "--json"]) == 0
    (line,) = capsys.readouterr().out.splitlines()
    row = json.loads(line)
    assert (row["answered"], row["errors"]) == (5, {})
    assert 0 < row["p50_ms"] <= row["p99_ms"] <= row["longest_ms"]
    assert main(asked) == 0
    assert capsys.readouterr().out.startswith("5 answered in ")


def test_a_server_that_answers_nothing_is_a_failure(server: FakeTriton, capsys: pytest.CaptureFixture) -> None:
    server.script(Scripted(), then=Scripted(grpc.StatusCode.UNAVAILABLE, "Server is stopping"))
    assert main(["bench", "--url", server.url, "--model", "alexnet_int8", "--seconds", "0.1", "--rate", "50"]) == 3
    assert "failed: 5 x Unavailable" in capsys.readouterr().out
    assert main(["bench", "--url", "127.0.0.1:1", "--seconds", "0.1"]) == 3
    assert "no server answers" in capsys.readouterr().err
