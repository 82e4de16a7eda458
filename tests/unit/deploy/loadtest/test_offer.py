"""One run from the command line: what it offers, what it says of it, and the report that it leaves."""

from __future__ import annotations

import argparse
from collections.abc import Iterator
from pathlib import Path

import grpc
import numpy as np
import pytest
from tritonclient.grpc.service_pb2 import ModelInferRequest

from alexnet_client._images import as_file
from deploy.loadtest import load, load_report, offer, schedule
from deploy.loadtest.__main__ import main
from deploy.loadtest.loadtest_error import LoadTestError
from tests.fake_triton import FakeTriton, Scripted


def when(*options: str, seconds: float = 10.0) -> schedule.Schedule:
    parser = argparse.ArgumentParser()
    schedule.add_options(parser)
    return schedule.schedule(parser.parse_args(options), seconds)


@pytest.mark.parametrize(
    ("options", "rate", "level", "said"),
    [
        (("--rate", "50"), 50, True, "at random times (Poisson) at 50/s"),
        (("--rate", "50", "--arrivals", "constant"), 50, True, "at an even beat of 50/s"),
        (("--rate", "50", "--arrivals", "gamma"), 50, True, "at random times (gamma, variation 2) at 50/s"),
        (("--rate", "50", "--arrivals", "ramp", "--start", "10"), 30, False, "(Poisson) from 10/s to 50/s"),
        (("--rate", "50", "--arrivals", "spike", "--height", "6"), 100, True, "at 50/s, 6 times that in the middle"),
    ],
)
def test_a_schedule_is_what_it_says(options: tuple[str, ...], rate: float, level: bool, said: str) -> None:
    found = when(*options)
    assert (found.rate, found.seconds, found.level) == (pytest.approx(rate), 10, level)
    assert said in found.text
    assert len(found.due(seed=3)) == pytest.approx(10 * rate, rel=0.3)


def test_arrivals_are_even_or_come_in_bursts() -> None:
    """The coefficient of variation of the gaps."""
    for options, variation in (
        (("--arrivals", "constant"), 0.0),
        ((), 1.0),
        (("--arrivals", "gamma", "--burstiness", "3"), 3.0),
    ):
        gaps = np.diff(when("--rate", "1000", *options).due(seed=1))
        assert gaps.std() / gaps.mean() == pytest.approx(variation, rel=0.15, abs=0.01)


@pytest.mark.parametrize(
    ("options", "why"),
    [
        (("--rate", "5", "--height", "2"), "--height is of spike: leave it out, or give --arrivals one of them"),
        (("--rate", "5", "--burstiness", "2"), "--burstiness is of gamma, ramp, spike"),
        (("--rate", "5", "--arrivals", "gamma", "--start", "2"), "--start is of ramp"),
    ],
)
def test_a_schedule_that_cannot_be_meant_is_refused(options: tuple[str, ...], why: str) -> None:
    with pytest.raises(LoadTestError) as error:
        when(*options)
    assert why in str(error.value)


@pytest.fixture
def server(monkeypatch: pytest.MonkeyPatch) -> Iterator[FakeTriton]:
    monkeypatch.setattr(load, "TRIES", 2)
    monkeypatch.setattr(load, "WARM_UP", 0.05)
    with FakeTriton() as running:
        yield running


def ask(server: FakeTriton, folder: Path, *options: str, seconds: str = "0.3") -> int:
    asked = ("offer", "--url", server.url, "--output", str(folder), "--rate", "100", "--seconds", seconds)
    return main([*asked, *options])


def test_a_run_is_told_and_kept(server: FakeTriton, tmp_path: Path, monkeypatch, capsys) -> None:
    monkeypatch.setattr("deploy.loadtest.verdict.FEWEST", 20)
    monkeypatch.setattr("deploy.loadtest.verdict.BUSY", 9.0)
    constant = ("--arrivals", "constant", "--batch", "2", "--outputs", "both", "--p99", "5000")
    assert ask(server, tmp_path, *constant) == 0
    said = capsys.readouterr().out
    assert "alexnet_int8, 2 images a request, both" in said
    assert "came at an even beat of 100/s, 30 requests in 0.3 s" in said
    assert "within 5000 ms of when it was due" in said
    assert "unanswered       0.00 %\n" in said
    assert "\nVALID\n" in said
    for request in server.requests[-30:]:
        assert request.inputs[0].shape[0] == 2
        assert [output.name for output in request.outputs] == ["probabilities", "embedding", "checksum"]
    (model,) = load_report.read(tmp_path / "offer.json").models
    assert (model.rate, model.batch, model.schedule) == (pytest.approx(100), 2, "at an even beat of 100/s")
    assert "one run, VALID, with" in (tmp_path / "offer.html").read_text()


def test_too_few_requests_tell_nothing(server: FakeTriton, tmp_path: Path, capsys) -> None:
    assert ask(server, tmp_path, "--p99", "60000", seconds="0.2") == 3
    assert "\nINVALID: " in capsys.readouterr().out
    assert "Nothing can be said of alexnet_int8: INVALID: " in (tmp_path / "offer.html").read_text()


def test_what_is_refused_is_counted_and_drawn(server: FakeTriton, tmp_path: Path, monkeypatch, capsys) -> None:
    monkeypatch.setattr("deploy.loadtest.verdict.FEWEST", 20)
    monkeypatch.setattr("deploy.loadtest.verdict.BUSY", 9.0)
    known = 0

    def full(request: ModelInferRequest) -> Scripted:
        nonlocal known
        known += bool(request.id)  # the client's, before the run
        refuses = not request.id and len(server.requests) % 2
        return Scripted(grpc.StatusCode.UNAVAILABLE, "too much to do") if refuses else Scripted()

    server.script(then=full)
    assert ask(server, tmp_path, "--p99", "60000") == 1
    said = capsys.readouterr().out
    assert " OVERLOADED\n" in said
    assert "\nmissed: " in said
    assert known == 4
    page = (tmp_path / "offer.html").read_text()
    assert 'id="alexnet_int8-time"' in page
    assert "not answered" in page


def test_what_has_to_be_refused_is_an_answer(server: FakeTriton, tmp_path: Path, monkeypatch, capsys) -> None:
    files = [as_file(np.full((8, 8, 3), shade, np.uint8)) for shade in range(16)]
    monkeypatch.setattr(offer, "images_for", lambda _: files)
    monkeypatch.setattr("deploy.loadtest.page.write_page", lambda *_: None)
    assert ask(server, tmp_path, "--model", "alexnet", "--bad", "0.5", "--p99", "60000") == 3
    said = capsys.readouterr().out
    assert "50 % bad files" in said
    assert "unanswered       0.00 %\n" in said


def test_two_models_are_asked(server: FakeTriton, tmp_path: Path, monkeypatch, capsys) -> None:
    monkeypatch.setattr("deploy.loadtest.page.write_page", lambda *_: None)
    assert ask(server, tmp_path, "--mix", "alexnet=0.5", "--p99", "60000") == 3  # too few
    assert (
        "alexnet_int8+alexnet, 1 image a request, embed, 50 % of the requests to alexnet\n" in capsys.readouterr().out
    )
    assert {request.model_name for request in server.requests[-20:]} == {"alexnet_int8", "alexnet"}
    with pytest.raises(SystemExit):
        ask(server, tmp_path, "--mix", "alexnet")
    assert "got 'alexnet', want MODEL=SHARE, such as " in capsys.readouterr().err


@pytest.mark.parametrize(
    ("options", "why"),
    [
        (("--mix", "alexnet=1"), "the share of alexnet is 1: want more than 0 and less than 1"),
        (("--batch", "33"), "33 images do not fit into one request"),
        (("--bad", "0.1"), "alexnet_int8 is sent pixels, of which none are bad"),
    ],
)
def test_what_cannot_be_offered_is_said_in_a_line(
    server: FakeTriton, tmp_path: Path, capsys, options: tuple[str, ...], why: str
) -> None:
    assert ask(server, tmp_path, *options) == 2
    captured = capsys.readouterr()
    assert why in captured.err
    assert captured.err.count("\n") == 1
    assert not server.requests
    assert not list(tmp_path.iterdir())


def test_a_run_is_as_long_as_a_percentile_needs(server: FakeTriton, monkeypatch) -> None:
    seen: list[float] = []

    def stop(url: str, work: object, due: np.ndarray, *_: object) -> None:
        seen.append(due[-1])
        raise LoadTestError("enough")

    monkeypatch.setattr(offer, "send", stop)
    assert main(["offer", "--url", server.url, "--rate", "10", "--arrivals", "ramp"]) == 3
    assert seen[0] > 500 / 5
