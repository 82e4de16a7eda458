"""Performance mode: LoadGen's own verdict on a served model. It is no result of MLPerf, whose rules want more."""

from __future__ import annotations

import sys
from dataclasses import dataclass, replace
from pathlib import Path

from tqdm import tqdm

from alexnet_client import TLS
from deploy.loadtest import load
from deploy.loadtest.loadgen import process
from deploy.loadtest.loadgen.logs import Result, read_result
from deploy.loadtest.loadgen.settings import OFFLINE, SERVER, Settings
from deploy.loadtest.loadtest_error import LoadTestError
from deploy.loadtest.search import Search
from deploy.loadtest.workload import workload

#: Offline has its samples made ready before it begins: more than one at a time will do, so that it is not too short.
GENEROUS = 3.0


@dataclass(frozen=True, slots=True)
class Performance:
    """A run, what LoadGen says of it, and what it does not."""

    model: str
    settings: Settings
    result: Result
    #: What requests failed of -> samples. LoadGen takes them for answers, and quick ones.
    failures: dict[str, int]
    logs: Path

    @property
    def valid(self) -> bool:
        """Whether LoadGen says so, and nothing failed."""
        return self.result.verdict == "VALID" and not self.failures

    def __str__(self) -> str:
        lines = [f"LoadGen-driven, {self.model}, {self.settings}", f"  LoadGen: {self.result}"]
        if self.failures:
            failed = "; ".join(f"{count} x {why}" for why, count in self.failures.items())
            lines.append(f"  not valid all the same, samples failed, which LoadGen takes for answers: {failed}")
        return "\n".join([*lines, f"  its logs: {self.logs}"])


def measure_performance(
    url: str, model: str, settings: Settings, logs: Path, rate: float | None, tls: TLS | None = None
) -> Performance:
    """Run a scenario against a server.

    Args:
        logs: folder for a folder of LoadGen's files.
        rate: as of :class:`Settings`; None finds it. Server's by our own search, with its target.
        tls: who the server must be; None is plain text.

    Raises:
        LoadTestError: there is no rate that keeps the target, or LoadGen has no result.
        alexnet_client.AlexNetError: the server does not answer.
    """
    images = load.images_for(model)
    alone = load.time_alone(url, model, images[0], tls)  # it answers, and is warm
    if rate is not None:
        settings = replace(settings, rate=rate)
    elif settings.scenario == SERVER:
        work = workload(model, images)
        with tqdm(desc=f"{model}'s rate", unit="run", file=sys.stderr) as bar:

            def heard(_: Search) -> None:
                bar.update()

            found = load.find_rate(url, work, alone, settings.p99, load.SECONDS, heard, tls=tls)
        if not found.rate:
            raise LoadTestError(f"{model} keeps p99 under {1000 * found.p99:.0f} ms at no rate: give --rate or --p99")
        settings = replace(settings, rate=found.rate, p99=found.p99)
    else:
        settings = replace(settings, rate=(GENEROUS if settings.scenario == OFFLINE else 1.0) / alone)
    folder = logs / f"{model}-{settings.name}"
    ended = process.run(url, model, images, settings, folder, tls)
    return Performance(model, settings, read_result(folder, settings.scenario), ended.failures, folder)
