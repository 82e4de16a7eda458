"""What a load test found, as the file that it leaves: pages and comparisons are made from nothing else."""

from __future__ import annotations

import json
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from pydantic import TypeAdapter, ValidationError

from alexnet_client.files import atomic_path, file_errors
from deploy.loadtest.latency import Latency
from deploy.loadtest.loadtest_error import LoadTestError
from deploy.loadtest.server_time import ModelTime
from deploy.loadtest.verdict import Verdict

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
