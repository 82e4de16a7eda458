"""The arithmetic of the bench, against hand-made numbers."""

import io

import pytest
from PIL import Image

from deploy.loadtest.ceiling import ceiling
from deploy.loadtest.measurement import FILES, IN_PROCESS, Measurement, latencies, speed, summarise, time_calls
from deploy.loadtest.perf_analyzer import window_seconds
from deploy.loadtest.photograph import photograph


def point(speed: float, batch: int | None = None, callers: int | None = None, longest: float = 9.5) -> Measurement:
    return Measurement(IN_PROCESS if batch else FILES, "alexnet_int8", speed, 1.23456, 9.0, longest, batch, callers)


def test_the_median_over_rounds_counts() -> None:
    rounds = [[point(100, batch=1), point(50, callers=8)], [point(900, batch=1, longest=500)], [point(110, batch=1)]]
    got = summarise(rounds)
    assert [m.longest_ms for m in got] == [500, 9.5]  # one stall in one round is not averaged away
    assert [(m.images_per_second, m.batch, m.callers) for m in got] == [(110, 1, None), (50, None, 8)]


def test_a_row_has_what_was_set_and_nothing_empty() -> None:
    assert point(100.12345, callers=8).as_row() == {
        "what": FILES,
        "model": "alexnet_int8",
        "images_per_second": 100.123,
        "p50_ms": 1.235,
        "p99_ms": 9.0,
        "longest_ms": 9.5,
        "callers": 8,
    }


def test_the_speed_of_a_setting_is_that_of_no_other() -> None:
    measurements = [point(10, batch=1), point(30, batch=32), point(20, callers=8)]
    assert speed(measurements, IN_PROCESS, "alexnet_int8", batch=32) == 30
    assert speed(measurements, FILES, "alexnet_int8", callers=8) == 20
    with pytest.raises(ValueError, match="not enough values"):
        speed(measurements, FILES, "alexnet_int8", callers=64)


@pytest.mark.parametrize(
    ("p50", "longest", "idle", "stalled"),
    [
        (40, 513, 0.4, True),  # what Triton's batcher did
        (40, 513, 0.0, False),  # busy cores: other tenants, not a stall
        (40, 513, None, False),  # nobody looked at the cores
        (350, 600, 0.4, False),  # a slow network: that is its pace
        (40, 150, 0.4, False),
        (40, None, 0.4, True),  # the 99th percentile stands in
    ],
)
def test_a_stall_is_a_slow_call_among_quick_ones_with_idle_cores(
    p50: float, longest: float | None, idle: float | None, stalled: bool
) -> None:
    assert Measurement(FILES, "alexnet", 100, p50, 600, longest, callers=8, idle=idle).stalled is stalled


def test_latencies_are_in_milliseconds() -> None:
    assert latencies([0.001] * 99 + [0.5]) == (1.0, pytest.approx(5.99), 500.0)


def test_a_window_lasts_several_calls_however_slow_the_machine_is() -> None:
    assert window_seconds(callers=1, seconds=3) == 1
    assert window_seconds(callers=8, seconds=3, speed=400) == 1
    assert window_seconds(callers=64, seconds=3, speed=20) == pytest.approx(5 * 64 / 20)


def test_two_steps_on_the_same_cores_add_their_times() -> None:
    assert ceiling(decoding=300, network=150) == pytest.approx(100)


def test_calls_are_counted_after_the_first(monkeypatch: pytest.MonkeyPatch) -> None:
    """Against a clock that the calls themselves move: the first takes 5 s, the next 1, 2, 3 and 4."""
    clock, durations = [0.0], iter((5.0, 1.0, 2.0, 3.0, 4.0))

    def call() -> None:
        clock[0] += next(durations)

    monkeypatch.setattr("deploy.loadtest.measurement.time.perf_counter", lambda: clock[0])
    pace, p50, p99, longest = time_calls(call, images=4, seconds=9.5)
    assert pace == 4 * 4 / 10
    assert longest == 4000
    assert p50 == 2500
    assert p99 == pytest.approx(3970)


def test_the_photograph_is_a_jpeg_of_a_photographs_size_and_always_the_same() -> None:
    data = photograph()
    assert Image.open(io.BytesIO(data)).size == (500, 375)
    assert 30_000 < len(data) < 60_000
    assert photograph() == data
