"""Every candidate is measured on a server of its own, held against the published answers, and the best again."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from alexnet_client.contract import IMAGE
from alexnet_client.outputs import Outputs
from deploy.loadtest.configure import configure as subject
from deploy.loadtest.configure.candidate import Candidate, published
from deploy.loadtest.configure.configure import QUICK, candidates, configure, release_with
from deploy.loadtest.configure.trial import Choice
from deploy.loadtest.loadtest_error import LoadTestError
from deploy.serve.process import ServerError
from deploy.serve.repository import check
from export.artefacts import manifest
from export.artefacts.manifest import Manifest, ManifestError
from export.proof.proof import Proof, Verdict
from export.release import CONFIG, configuration
from tests.unit.deploy.loadtest.test_verdict import outcome

PUBLISHED = Candidate(1000, 2)


@pytest.fixture
def repository(tmp_path: Path) -> Path:
    """One published model, whose graph nobody loads."""
    model = tmp_path / "repository" / "alexnet_int8"
    (model / "7").mkdir(parents=True)
    (model / CONFIG).write_text(configuration("alexnet_int8", 3, "int8"))
    (model / "labels.txt").write_text("cat\ndog\nowl\n")
    (model / "7" / "model.onnx").write_bytes(b"graph")
    files = manifest.hashes(model, manifest.present_files(model))
    record = Manifest(model="alexnet_int8", files=files, proof=Proof(Verdict.PASSED, ()))
    record.write(model / "7")
    return tmp_path / "repository"


class Machine:
    """Servers that are as fast, and as right, as a test says."""

    def __init__(self, rates: dict[Candidate, list[float]], wrong: set[Candidate], broken: set[Candidate]) -> None:
        self.rates, self.wrong, self.broken = rates, wrong, broken
        self.started: list[Candidate] = []

    @contextmanager
    def served(self, folder: Path, config: str, candidate: Candidate, repository: Path) -> Iterator[str]:
        self.started.append(candidate)
        yield "url"

    def ask(self, *_: object) -> Outputs:
        probabilities = np.array([[0.7, 0.2, 0.1], [0.1, 0.8, 0.1]], np.float32)
        if self.started[-1] in self.wrong:
            probabilities = probabilities[::-1]
        return Outputs(probabilities, np.ones((2, 8), np.float32))

    def rate(self, *_: object) -> float:
        present = self.started[-1]
        times = Counter(self.started)[present]
        if present in self.broken or times > len(self.rates[present]):
            raise LoadTestError("3 times in a row: INVALID")
        return self.rates[present][times - 1]


@pytest.fixture
def chosen(repository: Path, monkeypatch: pytest.MonkeyPatch):
    def choose(
        rates: dict[Candidate, list[float]], wrong: set[Candidate] = frozenset(), broken: set[Candidate] = frozenset()
    ) -> tuple[Choice, Machine]:
        machine = Machine(rates, wrong, broken)
        monkeypatch.setattr(subject, "_served", machine.served)
        monkeypatch.setattr(subject, "_ask", machine.ask)
        monkeypatch.setattr(subject, "_rate", machine.rate)
        monkeypatch.setattr(subject, "time_alone", lambda *_: 0.01)
        images = np.zeros((2, *IMAGE.shape), np.uint8)
        return configure(repository, "alexnet_int8", images, list(rates), 0.1, subject.QUICK, [].append), machine

    return choose


FAST, FASTER, SLOW = Candidate(0, 2), Candidate(0, 3), Candidate(4000, 2)


def test_the_best_other_is_tried_again_in_turn_with_the_published_one(chosen) -> None:
    rates = {PUBLISHED: [100, 99, 103, 101], FAST: [110], SLOW: [80], FASTER: [120, 118, 125, 122]}
    choice, machine = chosen(rates)
    assert machine.started == [PUBLISHED, FAST, SLOW, FASTER, *[FASTER, PUBLISHED] * (QUICK.rounds - 1)]
    assert choice.published.rates == rates[PUBLISHED]
    assert choice.winner.candidate == FASTER
    assert choice.p99 == 0.1


def test_one_lucky_search_is_not_enough(chosen) -> None:
    choice, _ = chosen({PUBLISHED: [100, 99, 103, 101], FAST: [150, 98, 101, 99]})
    assert choice.winner is None


def test_what_answers_otherwise_is_refused_before_it_is_measured(chosen) -> None:
    choice, machine = chosen({PUBLISHED: [100, 99, 103, 101], FAST: [999]}, wrong={FAST})
    (trial,) = choice.others
    assert trial.rates == []
    assert trial.refused.startswith("it answers otherwise: max |Δp| is ")
    assert "top-1 agreement is 0.00 %" in trial.refused
    assert machine.started == [PUBLISHED, FAST]  # nothing to try again


def test_a_candidate_that_cannot_be_measured_is_said_so_and_the_rest_goes_on(chosen) -> None:
    choice, _ = chosen({PUBLISHED: [100, 99, 103, 101], FAST: [], FASTER: [120, 118, 125, 122]}, broken={FAST})
    assert [trial.refused for trial in choice.others] == ["not measured: 3 times in a row: INVALID", ""]
    assert choice.winner.candidate == FASTER


def test_when_time_is_over_the_rest_is_left_out_and_said_so(chosen, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(subject, "QUICK", replace(QUICK, budget=-1.0))
    choice, machine = chosen({PUBLISHED: [100], FAST: [120]})
    assert machine.started == [PUBLISHED]
    assert choice.others[0].refused.startswith("not measured: ")
    assert choice.winner is None


def test_a_hopeless_candidate_is_not_narrowed_down(monkeypatch: pytest.MonkeyPatch) -> None:
    offered: list[float] = []

    def runs(*_: object):
        def run(rate: float):
            offered.append(rate)
            return outcome(latency=0.5)

        return run

    monkeypatch.setattr(subject, "runs", runs)
    monkeypatch.setattr(subject, "warm", lambda *_: None)
    with pytest.raises(LoadTestError, match="missed at 0.25 of the 100 /s"):
        subject._rate("url", None, 0.1, 100.0, QUICK, [].append, 100.0)
    assert offered == [100, 50, 25]


def test_a_published_configuration_that_keeps_nothing_is_no_base(chosen) -> None:
    with pytest.raises(LoadTestError, match="as published keeps p99 under 100 ms at no rate"):
        chosen({PUBLISHED: [0.0], FAST: [120]})


def test_a_machine_that_gets_busy_costs_the_verdict_and_not_the_table(chosen) -> None:
    choice, _ = chosen({PUBLISHED: [100, 99], FAST: [120, 118, 125, 122]})
    assert choice.winner is None
    assert "; the published configuration cannot be measured again, 3 times in a row: INVALID" in str(choice)
    assert " 120 118 125" in str(choice)


def test_a_server_that_does_not_start_is_one_candidate_less(chosen, monkeypatch: pytest.MonkeyPatch) -> None:
    def served(self, folder: Path, config: str, candidate: Candidate, repository: Path):
        if candidate == FAST:
            raise ServerError("it does not start")
        return served_before(self, folder, config, candidate, repository)

    served_before = Machine.served
    monkeypatch.setattr(Machine, "served", served)
    choice, _ = chosen({PUBLISHED: [100, 99, 103, 101], FAST: [], FASTER: [120, 118, 125, 122]})
    assert choice.others[0].refused == "not measured: it does not start"
    assert choice.winner.candidate == FASTER


def test_without_the_published_figure_there_is_no_choice(chosen) -> None:
    with pytest.raises(LoadTestError, match="INVALID"):
        chosen({PUBLISHED: [], FAST: [100]}, broken={PUBLISHED})


def test_a_candidates_release_is_one_that_the_server_takes(repository: Path, tmp_path: Path) -> None:
    model, release = repository / "alexnet_int8", tmp_path / "other"
    before = (model / CONFIG).read_text()
    release_with(model, before, Candidate(123, 4), release)
    checked = check(release)
    assert checked.models == ("alexnet_int8",)
    assert not checked.refused
    assert published((release / "alexnet_int8" / CONFIG).read_text()) == Candidate(123, 4)
    assert (model / CONFIG).read_text() == before
    assert manifest.read(release / "alexnet_int8" / "7").proof == manifest.read(model / "7").proof


def test_a_changed_release_is_not_tried(repository: Path, tmp_path: Path) -> None:
    (repository / "alexnet_int8" / "7" / "model.onnx").write_bytes(b"another")
    with pytest.raises(ManifestError, match="was changed after it was proved"):
        release_with(
            repository / "alexnet_int8",
            (repository / "alexnet_int8" / CONFIG).read_text(),
            Candidate(0, 2),
            tmp_path / "other",
        )


def test_the_grid_is_every_pair() -> None:
    assert candidates([0, 5], [2, 3]) == [Candidate(0, 2), Candidate(5, 2), Candidate(0, 3), Candidate(5, 3)]


def test_a_model_without_a_network_of_its_own_is_refused(repository: Path) -> None:
    with pytest.raises(LoadTestError, match="alexnet has no batcher"):
        configure(repository, "alexnet", np.zeros((1, *IMAGE.shape), np.uint8), [], 0.1, QUICK, [].append)
