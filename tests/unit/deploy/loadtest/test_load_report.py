"""A report is read as it was written, or refused in one line."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from alexnet_client.errors import FileError
from deploy.loadtest import load_report
from deploy.loadtest.loadtest_error import LoadTestError
from deploy.loadtest.search import REPEATS
from tests.unit.deploy.loadtest.simulated import report


def test_a_report_is_read_as_it_was_written(tmp_path: Path) -> None:
    written = report()
    load_report.write(written, tmp_path / "load.json")
    read = load_report.read(tmp_path / "load.json")
    assert read == written
    (model,) = read.models
    assert len(model.confirmed) == REPEATS
    for run in model.confirmed:
        assert run.latency.whole().get_value_at_percentile(99) / 1e6 == pytest.approx(run.p99_seconds, rel=0.02)


@pytest.mark.parametrize(
    ("text", "why"),
    [
        ("no json", "is no report of a load test"),
        ("[1]", "is no report of a load test"),
        ('{"format": 1}', "has format 1, this release reads 2"),
        ('{"format": 2, "when": 3}', "is no report of a load test (when: "),
    ],
)
def test_another_file_is_refused(tmp_path: Path, text: str, why: str) -> None:
    path = tmp_path / "load.json"
    path.write_text(text)
    with pytest.raises(LoadTestError, match="run `python -m deploy.loadtest load` again") as error:
        load_report.read(path)
    assert why in str(error.value)
    assert "\n" not in str(error.value)


def test_a_missing_file_is_named(tmp_path: Path) -> None:
    with pytest.raises(FileError, match="absent.json"):
        load_report.read(tmp_path / "absent.json")


def test_the_file_is_plain_json(tmp_path: Path) -> None:
    load_report.write(report(), tmp_path / "load.json")
    found = json.loads((tmp_path / "load.json").read_text())
    assert found["models"][0]["runs"][0]["latency"]["slices"][0].startswith("HISTF")
