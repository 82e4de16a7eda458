"""LoadGen's own files: its verdict, its figures, and an answer to every sample."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from deploy.loadtest.loadgen.logs import ACCURACY, DETAIL, read_classes, read_result
from deploy.loadtest.loadgen.performance import Performance
from deploy.loadtest.loadgen.settings import SERVER, Settings
from deploy.loadtest.loadtest_error import LoadTestError

SERVED = {
    "result_validity": "INVALID",
    "result_perf_constraints_met": False,
    "result_min_duration_met": True,
    "early_stopping_met": False,
    "result_query_count": 796,
    "result_completed_samples_per_sec": 97.2903,
    "result_50.00_percentile_latency_ns": 76387763,
    "result_90.00_percentile_latency_ns": 312546138,
    "result_99.00_percentile_latency_ns": 423263044,
}


def detail(folder: Path, values: dict[str, Any], errors: tuple[str, ...] = ()) -> Path:
    entries = [{"key": key, "value": value, "metadata": {"is_error": False}} for key, value in values.items()]
    entries += [{"key": "error_runtime", "value": value, "metadata": {"is_error": True}} for value in errors]
    lines = ["not an entry", *(f":::MLLOG {json.dumps(entry)}" for entry in entries)]
    (folder / DETAIL).write_text("\n".join(lines))
    return folder


def test_a_run_that_misses_is_invalid_and_says_why(tmp_path: Path) -> None:
    result = read_result(detail(tmp_path, SERVED), SERVER)
    assert str(result) == (
        "INVALID (p99 is missed; too few queries were in time to be sure of the percentile): answered a second 97.3, "
        "queries 796, p50 76.4 ms, p90 312.5 ms, p99 423.3 ms"
    )


def test_a_failure_is_no_answer_though_loadgen_takes_it_for_one(tmp_path: Path) -> None:
    valid = {**SERVED, "result_validity": "VALID", "result_perf_constraints_met": True, "early_stopping_met": True}
    result = read_result(detail(tmp_path, valid), SERVER)
    good, bad = (
        Performance("alexnet_int8", Settings(SERVER, rate=100), result, failures, tmp_path)
        for failures in ({}, {"UNAVAILABLE: too much to do": 3})
    )
    assert good.valid
    assert not bad.valid
    assert "3 x UNAVAILABLE: too much to do" in str(bad)
    assert "MLPerf's rules want 600 s" in str(good)
    assert str(good).startswith("LoadGen-driven, alexnet_int8, Server: 100.0/s, p99 100 ms;")


@pytest.mark.parametrize(
    ("values", "errors", "said"), [({}, (), "no reason"), (SERVED, ("Ran out of queries",), "Ran out of queries")]
)
def test_a_run_without_a_result_is_an_error(tmp_path: Path, values: dict, errors: tuple, said: str) -> None:
    with pytest.raises(LoadTestError, match=f"no result .*{said}"):
        read_result(detail(tmp_path, values, errors), SERVER)


def answers(folder: Path, *pairs: tuple[int, str]) -> Path:
    (folder / ACCURACY).write_text(json.dumps([{"seq_id": 0, "qsl_idx": index, "data": data} for index, data in pairs]))
    return folder


def test_classes_come_back_in_the_order_of_the_images(tmp_path: Path) -> None:
    got = read_classes(answers(tmp_path, (2, "09000000"), (0, "00000000"), (1, "2C010000")), 3)
    assert got.tolist() == [0, 300, 9]
    assert got.dtype == np.int32


@pytest.mark.parametrize(
    "pairs",
    [
        [(0, "00000000")],
        [(0, "00000000"), (1, "")],
        [(0, "00000000"), (0, "00000000")],
        [(0, "00000000"), (1, "00000000"), (1, "01000000")],
    ],
)
def test_an_image_without_one_answer_is_an_error(tmp_path: Path, pairs: list) -> None:
    with pytest.raises(LoadTestError, match="of 2 samples [12] have no answer, or more than one"):
        read_classes(answers(tmp_path, *pairs), 2)


@pytest.mark.parametrize("wrong", [{"scenario": "Burst"}, {"rate": 0.0}, {"queries": 0}, {"seconds": float("nan")}])
def test_what_loadgen_would_take_silently_is_refused(wrong: dict) -> None:
    with pytest.raises(LoadTestError, match=f"{next(iter(wrong))} is .*: want"):
        Settings(**{"scenario": SERVER, **wrong})
