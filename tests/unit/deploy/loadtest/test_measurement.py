"""The arithmetic of the bench, against hand-made numbers."""

import io

import pytest
from PIL import Image

from deploy.loadtest.measurement import FILES, IN_PROCESS, Measurement, best, summarise, time_calls
from deploy.loadtest.photograph import photograph


def point(speed: float, batch: int | None = None, callers: int | None = None) -> Measurement:
    return Measurement(IN_PROCESS if batch else FILES, "alexnet_int8", speed, 1.23456, 9.0, batch, callers)


def test_the_median_over_rounds_counts() -> None:
    rounds = [[point(100, batch=1), point(50, callers=8)], [point(900, batch=1)], [point(110, batch=1)]]
    got = summarise(rounds)
    assert [(m.images_per_second, m.batch, m.callers) for m in got] == [(110, 1, None), (50, None, 8)]


def test_a_row_has_what_was_set_and_nothing_empty() -> None:
    assert point(100.12345, callers=8).as_row() == {
        "what": FILES,
        "model": "alexnet_int8",
        "images_per_second": 100.123,
        "p50_ms": 1.235,
        "p99_ms": 9.0,
        "callers": 8,
    }


def test_best_is_the_highest_of_those_that_fit() -> None:
    measurements = [point(10, batch=1), point(30, batch=32), point(20, batch=8)]
    assert best(measurements, IN_PROCESS, "alexnet_int8") == 30
    assert best(measurements, IN_PROCESS, "alexnet_int8", batch=8) == 20
    with pytest.raises(ValueError, match="empty"):
        best(measurements, FILES, "alexnet_int8")


def test_calls_are_counted_after_the_first(monkeypatch: pytest.MonkeyPatch) -> None:
    """Against a clock that the calls themselves move: the first takes 5 s, the next 1, 2, 3 and 4."""
    clock, durations = [0.0], iter((5.0, 1.0, 2.0, 3.0, 4.0))

    def call() -> None:
        clock[0] += next(durations)

    monkeypatch.setattr("deploy.loadtest.measurement.time.perf_counter", lambda: clock[0])
    speed, p50, p99 = time_calls(call, images=4, seconds=9.5)
    assert speed == 4 * 4 / 10
    assert p50 == 2500
    assert p99 == pytest.approx(3970)


def test_the_photograph_is_a_jpeg_of_a_photographs_size_and_always_the_same() -> None:
    data = photograph()
    assert Image.open(io.BytesIO(data)).size == (500, 375)
    assert 30_000 < len(data) < 60_000
    assert photograph() == data
