"""A slower server is a regression, the same one again is noise, and what cannot be compared is not."""

from __future__ import annotations

from dataclasses import replace
from functools import cache
from pathlib import Path

import pytest

from deploy.loadtest import load_report
from deploy.loadtest.__main__ import main
from deploy.loadtest.comparison import IMPROVEMENT, NOISE, REGRESSION, as_table, compare
from deploy.loadtest.load import Load, as_report
from deploy.loadtest.load_report import LoadReport, Machine, Server
from deploy.loadtest.loadtest_error import LoadTestError
from deploy.loadtest.search import confirm
from tests.unit.deploy.loadtest import simulated
from tests.unit.deploy.loadtest.simulated import report


@cache
def server(capacity: float = 200.0, noise: float = 0.05, seed: int = 0) -> LoadReport:
    return report(capacity, noise, seed)


@pytest.mark.parametrize(
    ("capacity", "seed", "verdict"), [(200.0, 1, NOISE), (150.0, 4, REGRESSION), (270.0, 5, IMPROVEMENT)]
)
def test_what_is_beyond_noise_is_told_from_what_is_not(capacity: float, seed: int, verdict: str) -> None:
    (change,) = compare(server(), server(capacity, seed=seed))
    assert change.verdict == verdict, change
    assert change.low < change.ratio < change.high
    assert verdict in str(change)
    assert as_table([change]).splitlines()[1].endswith(verdict)


def test_the_target_is_passed_between_what_keeps_it_and_what_does_not() -> None:
    steady = server(noise=0.0)
    (model,) = steady.models
    (change,) = compare(steady, steady)
    assert change.ratio == 1
    assert max(run.offered for run in model.confirmed) / 1.05 < change.rates[0]
    assert change.rates[0] < 1.05 * max(run.offered for run in model.runs if run.verdict.kept)


def test_runs_on_a_line_are_passed_where_the_line_is() -> None:
    """p99 as the fifth power of the rate, on the target at 100 and at 120; so each run says the same."""
    old, new = (on_a_line(passes) for passes in (100.0, 120.0))
    (change,) = compare(old, new)
    assert change.rates == pytest.approx((100, 120))
    assert (change.low, change.ratio, change.high) == pytest.approx((1.2, 1.2, 1.2))
    assert change.verdict == IMPROVEMENT
    (close,) = compare(old, on_a_line(103.0))  # which a search does not tell apart
    assert close.low > 1
    assert close.verdict == NOISE


def on_a_line(passes: float) -> LoadReport:
    report = server(noise=0.0)
    (model,) = report.models
    rates = (70.0, 85.0, 95.0, 105.0, 115.0)
    runs = [replace(model.runs[0], offered=rate, p99_seconds=0.1 * (rate / passes) ** 5) for rate in rates]
    return replace(report, models=(replace(model, runs=tuple(runs), beyond=None),))


def test_refusing_is_not_quicker_than_answering_late() -> None:
    steady = server(noise=0.0)
    (model,) = steady.models
    late = [run for run in model.runs if run.verdict.missed]
    answers = {
        id(run): replace(run, p99_seconds=0.01, latency=replace(run.latency, unanswered=(20,) * 50)) for run in late
    }
    refusing = replace(model, runs=tuple(answers.get(id(run), run) for run in model.runs))
    (change,) = compare(steady, replace(steady, models=(refusing,)))
    assert change.ratio < 1.05


def few(report: LoadReport, runs: int) -> LoadReport:
    (model,) = report.models
    return replace(report, models=(replace(model, runs=model.runs[:runs], beyond=None),))


def test_hardly_a_valid_run_is_no_measurement() -> None:
    with pytest.raises(LoadTestError) as error:
        compare(server(noise=0.0), few(server(noise=0.0), 2))
    assert str(error.value) == ("alexnet_int8 has 2 valid runs, want 4: measure it again, with `load` or `load --rate`")


@pytest.mark.parametrize(("rate", "kept"), [(100.0, True), (300.0, False)])
def test_a_given_rate_makes_as_many_runs_as_a_comparison_wants(rate: float, kept: bool) -> None:
    """Kept or not."""
    found = confirm(simulated.server(200.0, 0.05, 1), simulated.P99, rate, lambda _: None)
    assert bool(found.rate) == kept
    given = as_report([Load(simulated.WORKLOAD, 0.005, found, None, None)], Server(started=True))
    assert [change.verdict for change in compare(given, given)] == [NOISE]


def test_other_machines_and_targets_are_refused_unless_wanted() -> None:
    old = server()
    other = replace(old, machine=Machine("another", 96))
    with pytest.raises(LoadTestError, match=r"another, 96 cores.*--anyway"):
        compare(old, other)
    assert compare(old, other, anyway=True)[0].verdict == NOISE
    stricter = replace(old, models=(replace(old.models[0], p99_target_seconds=0.05),))
    with pytest.raises(LoadTestError, match=r"under 100\.0 and 50\.0 ms.*--anyway"):
        compare(old, stricter)
    with pytest.raises(LoadTestError, match="want a model in common"):
        compare(old, replace(old, models=()))


def test_exit_statuses_tell_a_regression_from_what_cannot_be_told_and_from_wrong_usage(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    old, new = tmp_path / "old.json", tmp_path / "new.json"
    load_report.write(server(), old)
    load_report.write(few(server(), 2), new)
    assert main(["compare", str(old), str(new)]) == 3
    assert capsys.readouterr().err == (
        "python -m deploy.loadtest compare: alexnet_int8 has 2 valid runs, want 4: measure it again, with `load` or "
        "`load --rate`\n"
    )
    assert main(["compare", str(old), str(tmp_path / "absent.json")]) == 3
    assert "absent.json" in capsys.readouterr().err
    with pytest.raises(SystemExit) as ended:
        main(["compare", str(old)])
    assert ended.value.code == 2
    with pytest.raises(SystemExit):
        main(["--help"])
    assert "1 for a missed target, a regression or a wrong answer" in capsys.readouterr().out


def test_the_command_ends_with_1_on_a_regression(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    old, new = tmp_path / "old.json", tmp_path / "new.json"
    for path, found in ((old, server()), (new, server(150.0, seed=4))):
        models = tuple(replace(model, rate=0.0, beyond=None) for model in found.models)  # fewer plots are drawn
        load_report.write(replace(found, models=models), path)
    assert main(["compare", str(old), str(new)]) == 1
    assert "regression" in capsys.readouterr().out
    page = (tmp_path / "compare.html").read_text()
    assert page.count("<svg") == 2
    assert "alexnet_int8: regression. The rate at the target is 0." in page
