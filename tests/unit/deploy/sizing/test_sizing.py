"""From a report to a plan, by cases that were worked out by hand."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from deploy.loadtest.load_report import FORMAT
from deploy.sizing.__main__ import main
from deploy.sizing.plan import Target, plan
from deploy.sizing.plot import curve, draw
from deploy.sizing.replica import Replica, read
from deploy.sizing.service import Service, fitted
from deploy.sizing.sizing_error import SizingError

ROW: dict[str, Any] = {
    "model": "alexnet_int8",
    "batch": 1,
    "alone_seconds": 0.013,
    "p99_target_seconds": 0.1,
    "rate": 200.0,
    "beyond": {"throughput": 500.0},
}
#: 10 ms a batch and 1 ms an image: 32 in 42 ms.
REPLICA = Replica("alexnet_int8", Service(0.010, 0.001, 32), overhead=0.002, rate=200.0, p99=0.1)


def report(folder: Path, *rows: dict[str, Any]) -> Path:
    path = folder / "load.json"
    path.write_text(json.dumps({"format": FORMAT, "models": rows or [ROW]}))
    return path


def test_a_plan_is_arithmetic() -> None:
    """3,000 a second at the measured 200 each are 15 replicas, and one spare; 150,528 bytes a request."""
    found = plan(REPLICA, Target(3000.0, 0.1, spare=1), devices_each=2, cost_each=0.5)
    assert found.rate_each == 200.0
    assert (found.replicas, found.devices, found.cost_an_hour) == (16, 32, 8.0)
    assert found.floor == 4  # 3000 * 0.042 / 32 is 3.9
    assert found.gigabits_in == pytest.approx(3.612672)
    assert found.gigabits_out == pytest.approx(0.393216)
    assert found.gigabits_each == pytest.approx(0.225792)
    assert found.cost_a_million == pytest.approx(8 / 10.8)


def test_the_measured_rate_bounds_what_theory_says_of_the_same_target_or_a_stricter_one() -> None:
    assert REPLICA.rate_under(0.1) == 200.0
    assert REPLICA.rate_under(0.2) > 500.0
    assert REPLICA.rate_under(0.03) < 200.0


def test_a_report_is_read_through_its_two_ends(tmp_path: Path) -> None:
    replica = read(report(tmp_path))
    assert replica.service.image == pytest.approx(0.002)
    assert replica.service.batch == pytest.approx(0.011)
    assert (replica.overhead, replica.rate, replica.p99) == (pytest.approx(0.0), 200.0, 0.1)


def test_measured_batches_leave_the_rest_to_transport(tmp_path: Path) -> None:
    replica = read(report(tmp_path), points={1: 0.011, 11: 0.021})
    assert replica.service.batch == pytest.approx(0.010)
    assert replica.service.image == pytest.approx(0.001)
    assert replica.overhead == pytest.approx(0.002)


def test_no_part_of_a_line_is_below_nothing() -> None:
    falls, starts_below = fitted({1: 0.02, 32: 0.01}, 128), fitted({1: 0.01, 2: 0.03}, 128)
    assert (falls.batch, falls.image) == (pytest.approx(0.015), 0.0)
    assert (starts_below.batch, starts_below.image) == (0.0, pytest.approx(0.014))


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"rate": 0.0}, "kept no rate"),
        ({"beyond": None}, "kept no rate"),
        ({"batch": 8}, "want one of requests of a single image"),
        ({"alone_seconds": "soon"}, "make it with deploy.loadtest load"),
    ],
)
def test_a_report_that_says_too_little_is_refused(tmp_path: Path, change: dict[str, Any], message: str) -> None:
    with pytest.raises(SizingError, match=message):
        read(report(tmp_path, ROW | change))


def test_a_file_that_is_no_report_and_a_model_that_it_lacks_are_refused(tmp_path: Path) -> None:
    with pytest.raises(SizingError, match="is no report"):
        read(tmp_path / "none.json")
    (tmp_path / "bench.json").write_text("[]")
    with pytest.raises(SizingError, match="is no report"):
        read(tmp_path / "bench.json")
    with pytest.raises(SizingError, match="has alexnet_int8, alexnet: want --model to be one of them, got None"):
        read(report(tmp_path, ROW, ROW | {"model": "alexnet"}))


@pytest.mark.parametrize(
    "target", [(0.0, 0.1), (-1.0, 0.1), (float("nan"), 0.1), (1.0, 0.0), (1.0, 0.1, -1), (1.0, 0.1, 0, 0)]
)
def test_a_target_that_is_none_is_refused(target: tuple[Any, ...]) -> None:
    with pytest.raises(SizingError, match="want a rate, a p99 and a size above 0"):
        Target(*target)


def test_a_service_and_a_replica_that_cannot_be_are_refused() -> None:
    for parts in ((0.0, 0.0, 1), (-1.0, 1.0, 1), (1.0, 1.0, 0)):
        with pytest.raises(SizingError, match="want seconds from 0 on"):
            Service(*parts)
    with pytest.raises(SizingError, match="two batch sizes"):
        fitted({1: 0.1}, 128)
    with pytest.raises(SizingError, match="want some, for 0 or more"):
        plan(REPLICA, Target(1.0, 0.1), devices_each=0)


def test_a_target_out_of_reach_says_what_one_request_takes(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["--report", str(report(tmp_path)), "--rate", "10", "--p99", "5"]) == 1
    assert "one request alone takes 13.0 ms" in capsys.readouterr().err


def test_the_command_says_all(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    command = ["--report", str(report(tmp_path)), "--rate", "3000", "--p99", "100", "--replica-cost", "0.5"]
    assert main([*command, "--service", "1:11", "32:42"]) == 0
    said = capsys.readouterr().out
    assert "10.00 ms and 1.00 ms an image, a request 2.00 ms beside it" in said
    for line in ("replicas                   16, 1 of them spare", "3.61 Gbit/s", "8.00 an hour, 0.741 a million"):
        assert line in said
    with pytest.raises(SystemExit):
        main([*command, "--service", "1:soon"])
    assert "want IMAGES:MS, as 32:41.5" in capsys.readouterr().err


def test_the_plot_has_what_was_computed(tmp_path: Path) -> None:
    target = Target(1000.0, 0.1)
    points = curve(REPLICA, target.p99, counts=(4,))
    assert [(point.replicas, point.rate) for point in points] == [(4, 800.0)]
    assert points[0].two < points[0].random == pytest.approx(points[0].theory, rel=0.1)
    assert draw(points, target, plan(REPLICA, target), tmp_path).read_bytes().startswith(b"\x89PNG")
