"""What a load test found, as the file that it leaves: pages and comparisons are made from nothing else."""

from __future__ import annotations

import json
import platform
import subprocess
import time
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any, Self

import numpy as np
import psutil
from pydantic import TypeAdapter, ValidationError

from alexnet_client.files import atomic_path, file_errors
from deploy.loadtest.latency import Latency
from deploy.loadtest.loadtest_error import LoadTestError
from deploy.loadtest.processor import processor_name
from deploy.loadtest.search import Run
from deploy.loadtest.server_time import ModelTime
from deploy.loadtest.verdict import Verdict
from deploy.serve.installation import ROOT

#: Raised when a report of before can no longer be read as it was meant.
FORMAT = 2


@dataclass(frozen=True)
class Generator:
    """How hard it was to make the load."""

    processes: int
    #: That the busiest process used.
    cores: float
    lag_p99_seconds: float


@dataclass(frozen=True)
class RunReport:
    """One rate, and what came of it. Rates are requests a second; a percentile is None where nothing was answered."""

    rate: float
    confirms: bool
    verdict: Verdict
    #: That came, by chance some more or less than the rate.
    offered: float
    throughput: float
    #: Of those that were answered in time.
    goodput: float
    p50_seconds: float | None
    p90_seconds: float | None
    p99_seconds: float | None
    p99_9_seconds: float | None
    statuses: dict[str, int]
    generator: Generator
    latency: Latency
    #: What the server counted meanwhile; None where its metrics are not known.
    server: tuple[ModelTime, ...] | None

    @classmethod
    def of(cls, run: Run, target: float) -> Self:
        """Against a target for the 99th percentile, in seconds."""
        outcome = run.outcome
        p50, p90, p99, p99_9 = (_known(outcome.percentile(percent)) for percent in (50, 90, 99, 99.9))
        return cls(
            rate=run.rate,
            confirms=run.confirms,
            verdict=run.verdict,
            offered=outcome.offered,
            throughput=outcome.throughput,
            goodput=outcome.goodput(target),
            p50_seconds=p50,
            p90_seconds=p90,
            p99_seconds=p99,
            p99_9_seconds=p99_9,
            statuses=dict(outcome.statuses),
            generator=Generator(outcome.processes, outcome.cores, float(np.percentile(outcome.lag, 99))),
            latency=Latency.of(outcome),
            server=outcome.server,
        )


def _known(seconds: float) -> float | None:
    return seconds if np.isfinite(seconds) else None


@dataclass(frozen=True)
class Closed:
    """A closed loop with the callers that would make the load that is too much."""

    callers: int
    throughput: float
    p99_seconds: float


@dataclass(frozen=True)
class ModelReport:
    """What was found of one model."""

    model: str
    batch: int
    alone_seconds: float
    p99_target_seconds: float
    #: The highest that kept the target, 0 if none did.
    rate: float
    runs: tuple[RunReport, ...]
    #: At more than the server can take.
    beyond: RunReport | None
    closed: Closed | None
    #: When requests came, and what they asked for.
    schedule: str = "at random times (Poisson)"
    asked: str = "embed"
    #: Whether the search came to its end; the rate is 0 where it was stopped.
    ended: bool = True

    @property
    def confirmed(self) -> tuple[RunReport, ...]:
        """The runs at the rate that was found."""
        return tuple(run for run in self.runs if run.confirms and run.rate == self.rate and run.verdict.kept)


@dataclass(frozen=True)
class Machine:
    """Of the generator; of the server too, if it was started for the test."""

    processor: str
    cores: int


@dataclass(frozen=True)
class Server:
    """What was asked; None is what it does not tell."""

    #: Whether it was started for the test, on this machine.
    started: bool
    name: str | None = None
    version: str | None = None
    #: Model -> of its configuration, what decides on speed.
    models: dict[str, dict[str, Any]] = field(default_factory=dict)


@dataclass(frozen=True)
class LoadReport:
    """All of a load test."""

    when: str
    machine: Machine
    versions: dict[str, str]
    python: str
    commit: str
    server: Server
    models: tuple[ModelReport, ...]
    format: int = FORMAT

    @classmethod
    def now(cls, models: Sequence[ModelReport], server: Server) -> Self:
        """Of what was measured just now, on this machine, with this checkout."""
        return cls(
            when=time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime()),
            machine=Machine(processor_name(), psutil.cpu_count() or 1),
            versions=_versions("onnxruntime", "numpy", "grpcio", "tritonclient"),
            python=platform.python_version(),
            commit=_commit(),
            server=server,
            models=tuple(models),
        )


def _versions(*names: str) -> dict[str, str]:
    """Of those that are here: an image with a GPU's runtime has no other."""
    found = {}
    for name in names:
        with suppress(PackageNotFoundError):
            found[name] = version(name)
    return found


def _commit() -> str:
    """Of the checkout; empty in an image, which is none."""
    with suppress(FileNotFoundError):
        told = subprocess.run(["git", "rev-parse", "HEAD"], cwd=ROOT, capture_output=True, text=True, check=False)
        return told.stdout.strip()
    return ""


_ADAPTER = TypeAdapter(LoadReport)


def as_json(report: LoadReport) -> str:
    """The file's text."""
    return _ADAPTER.dump_json(report, indent=2).decode() + "\n"


def write(report: LoadReport, path: Path) -> None:
    """Write it whole or not at all.

    Raises:
        alexnet_client.errors.FileError: it cannot be written.
    """
    with atomic_path(path) as partial:
        partial.write_text(as_json(report))


def read(path: Path) -> LoadReport:
    """Read what ``python -m deploy.loadtest load`` wrote.

    Raises:
        LoadTestError: it is no such report, or of another format.
        alexnet_client.errors.FileError: it cannot be read.
    """
    again = "run `python -m deploy.loadtest load` again"
    with file_errors(path):
        data = path.read_bytes()
    try:
        found = json.loads(data).get("format")
    except (ValueError, AttributeError) as error:
        raise LoadTestError(f"{path} is no report of a load test ({error}): {again}") from error
    if found != FORMAT:
        raise LoadTestError(f"{path} has format {found!r}, this release reads {FORMAT}: {again}")
    try:
        return _ADAPTER.validate_json(data)
    except ValidationError as error:
        first = error.errors()[0]
        where = ".".join(map(str, first["loc"]))
        raise LoadTestError(f"{path} is no report of a load test ({where}: {first['msg']}): {again}") from error
