"""A search over configurations, each on a server of its own, as Triton's Model Analyzer does: which takes most load?"""

from __future__ import annotations

import shutil
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from alexnet_client import AlexNetClient, AlexNetError
from alexnet_client.contract import PRECISION_MODELS
from alexnet_client.files import file_errors
from alexnet_client.outputs import Outputs
from deploy.loadtest.configure.candidate import Candidate, configured, published
from deploy.loadtest.configure.trial import Choice, Trial
from deploy.loadtest.load import FIRST, images_for, runs, target_of, time_alone, warm
from deploy.loadtest.loadtest_error import LoadTestError
from deploy.loadtest.open_loop import Outcome
from deploy.loadtest.search import CLOSE, Search, search
from deploy.loadtest.workload import Workload, workload
from deploy.serve.server import LocalServer
from export.artefacts import manifest
from export.proof.compare import compare
from export.proof.proof import Limits
from export.release import CONFIG

#: Of a candidate's answers against the published configuration's: batches of other sizes may round otherwise.
GATE = Limits(agreement=100.0, max_abs_dp=1e-3)
DELAYS, INSTANCES = (0, 1000, 4000), (2, 3)
#: Seconds for an answer to a batch of images; nobody waits for it.
PATIENCE = 60.0


@dataclass(frozen=True, slots=True)
class Effort:
    """How long it may take."""

    #: A run, at least.
    seconds: float
    #: As of :func:`search`.
    close: float
    #: Of the published configuration and the best other.
    rounds: int
    #: Seconds in all; what has begun is ended.
    budget: float


THOROUGH, QUICK = Effort(8.0, CLOSE, 6, 7200.0), Effort(2.0, 1.1, 4, 600.0)
#: Of what the published configuration keeps: a candidate that does not keep that much is out. And if the published one
#: itself no longer does, nothing can be told.
HOPELESS = 0.25


def candidates(delays: Sequence[int], instances: Sequence[int]) -> list[Candidate]:
    """Every pair.

    Raises:
        WrongUsage: one is excluded.
    """
    return [Candidate(delay, count) for count in instances for delay in delays]


def configure(
    repository: Path,
    model: str,
    images: NDArray[np.uint8],
    others: Sequence[Candidate],
    p99: float,
    effort: Effort,
    heard: Callable[[str], None],
) -> Choice:
    """Try candidates against the published configuration, and the best of them again.

    Args:
        repository: published; it is not touched.
        model: of one precision.
        images: ``uint8[N, 224, 224, 3]``, for which every candidate must answer as the published configuration does.
        p99: seconds; or 5 times what one request alone takes, if that is more.
        heard: told of each run.

    Raises:
        LoadTestError: the published configuration cannot be measured.
        alexnet_client.AlexNetError: there is no such model, or its server does not start or answer.
    """
    if model not in PRECISION_MODELS:
        raise LoadTestError(f"{model} has no batcher of a network: want one of {', '.join(PRECISION_MODELS)}")
    folder = repository.resolve() / model
    with file_errors(folder / CONFIG):
        config = (folder / CONFIG).read_text()
    present = Trial(published(config))
    trials = [Trial(candidate) for candidate in dict.fromkeys(others) if candidate != present.candidate]
    load, end = workload(model, images_for(model)), time.monotonic() + effort.budget
    with _served(folder, config, present.candidate, repository) as url:
        answers = _ask(url, model, images)
        alone = time_alone(url, model, images[0])
        target = target_of(p99, alone)
        present.rates.append(_rate(url, load, target, FIRST / alone, effort, _telling(present, heard)))
    if not present.rate:
        raise LoadTestError(
            f"{model} as published keeps p99 under {1000 * target:.0f} ms at no rate: give another --p99"
        )

    def measure(trial: Trial) -> None:
        try:
            with _served(folder, config, trial.candidate, repository) as url:
                if broken := GATE.broken_by(compare(answers, _ask(url, model, images))):
                    trial.refused = f"it answers otherwise: {'; '.join(broken)}"
                    return
                first = trial.rate or present.rate
                trial.rates.append(_rate(url, load, target, first, effort, _telling(trial, heard), present.rate))
        except AlexNetError as error:
            if trial is present:
                raise
            trial.refused = f"not measured: {error}"

    for trial in trials:
        if time.monotonic() < end:
            measure(trial)
        else:
            trial.refused = f"not measured: {effort.budget:g} s were over"
    choice = Choice(model, config, target, present, trials)
    if best := choice.best:
        try:
            for _ in range(effort.rounds - 1):
                if time.monotonic() > end:
                    return replace(choice, unsure=f"{effort.budget:g} s were over")
                if not best.refused:
                    measure(best)
                    measure(present)
        except LoadTestError as error:
            return replace(choice, unsure=f"the published configuration cannot be measured again, {error}")
    return choice


def release_with(folder: Path, config: str, candidate: Candidate, release: Path) -> None:
    """Write a release of one published model with another configuration, hashes and all.

    What was proved is the graph, which stays.

    Args:
        folder: the published model's.

    Raises:
        manifest.ManifestError: the published model was changed, or has no version.
        alexnet_client.FileError: a file cannot be written.
    """
    copy = release / folder.name
    with file_errors(copy):
        shutil.copytree(folder, copy)
        versions = [path for path in copy.iterdir() if path.name.isdigit()]
        if not versions:
            raise manifest.ManifestError(f"{folder} has no version: publish it again")
        record = manifest.read(versions[0])
        record.check(copy)
        (copy / CONFIG).write_text(configured(config, candidate))
        replace(record, files=manifest.hashes(copy, manifest.present_files(copy))).write(versions[0])


@contextmanager
def _served(folder: Path, config: str, candidate: Candidate, repository: Path) -> Iterator[str]:
    with tempfile.TemporaryDirectory() as name:
        release = Path(name) / "repository"
        release_with(folder, config, candidate, release)
        with LocalServer(release, use_free_ports=True, work=repository.parent / "triton") as server:
            yield server.grpc_url


def _ask(url: str, model: str, images: NDArray[np.uint8]) -> Outputs:
    with AlexNetClient(url, model, PATIENCE) as client:
        return client.infer(list(images))


def _rate(
    url: str,
    load: Workload,
    target: float,
    first: float,
    effort: Effort,
    heard: Callable[[Search], None],
    published: float = 0.0,
) -> float:
    warm(url, load, first / 2)
    run = runs(url, load, target, effort.seconds)

    def offer(rate: float) -> Outcome:
        if rate < HOPELESS * published:
            raise LoadTestError(f"p99 is missed at {HOPELESS:g} of the {published:.0f} /s that the published one kept")
        return run(rate)

    return search(offer, target, first, heard, close=effort.close, repeats=1).rate


def _telling(trial: Trial, heard: Callable[[str], None]) -> Callable[[Search], None]:
    def told(found: Search) -> None:
        run = found.runs[-1]
        heard(f"{trial.candidate}: {run.rate:.0f}/s {'kept' if run.verdict.kept else 'not kept'}")

    return told
