"""How much load a server takes: the highest Poisson rate under a 99th percentile, and what twice as much does.

``python -m deploy.loadtest load``, or ``make load``.
"""

from __future__ import annotations

import sys
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass, replace
from pathlib import Path
from statistics import median
from typing import Any

import numpy as np
from numpy.typing import NDArray
from tqdm import tqdm

from alexnet_client import TLS, AlexNetClient
from alexnet_client.contract import ENSEMBLE, IMAGE, precision_model
from deploy.loadtest.arrivals import arrivals, steady
from deploy.loadtest.clients import measure_clients
from deploy.loadtest.load_report import Closed, LoadReport, ModelReport, RunReport, Server
from deploy.loadtest.loadtest_error import LoadTestError
from deploy.loadtest.open_loop import Outcome, offer
from deploy.loadtest.passing import in_words, passing
from deploy.loadtest.photograph import WIDTH, photograph
from deploy.loadtest.search import REPEATS, USUAL, Run, Search, confirm, search
from deploy.loadtest.served import describe
from deploy.loadtest.server_time import Counted, between, count
from deploy.loadtest.verdict import FEWEST, drift, judge
from deploy.loadtest.workload import Workload, workload
from deploy.serve.server import LocalServer

MODELS = (precision_model("int8"), ENSEMBLE)
#: Distinct images.
IMAGES = 16
#: Where one inference alone takes more than this part of the target, the target is so many times what it takes.
ALONE = 5
#: Requests one after the other that tell what one alone takes, after as many that do not count.
TRIES = 20
#: Of the rate that one request after the other would come to: what a search begins with.
FIRST = 0.5
#: A run, at least.
SECONDS = 8.0
#: Before anything counts: threads, caches and the door's limit get used to the load.
WARM_UP = 3.0
#: Times the rate that was found, to see what too much looks like.
TOO_MUCH = 2.0
#: Times the target that a caller waits for; what takes longer is lost.
PATIENCE = 20


@dataclass(frozen=True)
class Load:
    """What was found of one model."""

    workload: Workload
    #: Seconds that one request alone takes: the median.
    alone: float
    found: Search
    #: At :data:`TOO_MUCH` times the rate.
    beyond: Outcome | None
    #: With the callers that would make that rate.
    closed: Closed | None


def measure_load(
    url: str | None,
    repository: Path,
    models: Sequence[str],
    p99: float,
    seconds: float,
    processes: int,
    metrics: str | None = None,
    heard: Callable[[Sequence[Load], Server], None] = lambda *_: None,
    *,
    rate: float | None = None,
    tls: TLS | None = None,
) -> tuple[list[Load], Server]:
    """Search for each model's rate, and ask the server what it is.

    How long that will take is said on standard error, before it begins.

    Args:
        url: of a server that runs; None starts one on ``repository``.
        metrics: URL of that server's metrics; None does without.
        p99: seconds.
        seconds: a run, at least; longer where 500 requests take longer.
        processes: of the generator.
        heard: told all that was measured so far, whenever a run has ended.
        rate: requests a second that are to be kept: nothing is searched for, nor more than that offered.
        tls: who the server at ``url`` must be; None is plain text.

    Raises:
        alexnet_client.AlexNetError: the server does not start or answer, or the generator is at its limits.
    """
    loads: list[Load] = []
    with running(url, repository, metrics) as (asked, counted), tqdm(desc="load", unit="run", file=sys.stderr) as bar:
        server = describe(asked, models, started=not url, tls=tls)

        def told(load: Load) -> None:
            bar.update()
            run = load.found.runs[-1]
            bar.set_postfix_str(f"{load.workload.model} {run.rate:.0f}/s {'kept' if run.verdict.kept else 'not kept'}")
            heard([*loads, load], server)

        for model in models:
            loads.append(_measure(asked, counted, model, p99, seconds, processes, bar, told, rate, tls))
            heard(loads, server)
    return loads, server


@contextmanager
def running(url: str | None, repository: Path, metrics: str | None = None) -> Iterator[tuple[str, str | None]]:
    """A server that runs, or one that is started on ``repository`` meanwhile: ``host:port``, and its metrics' URL.

    Raises:
        alexnet_client.AlexNetError: it does not start.
    """
    if url:
        yield url, metrics
        return
    with LocalServer(repository, use_free_ports=True, work=repository.parent / "triton") as server:
        yield server.grpc_url, server.metrics_url


def images_for(model: str) -> list[bytes | NDArray[np.uint8]]:
    """:data:`IMAGES` photographs as files, or pixels, as a model takes them; always the same."""
    if model == ENSEMBLE:
        return [photograph(WIDTH - 8 * number) for number in range(IMAGES)]
    return list(np.random.default_rng(0).integers(0, 256, (IMAGES, *IMAGE.shape), np.uint8))


def _measure(
    url: str,
    metrics: str | None,
    model: str,
    p99: float,
    seconds: float,
    processes: int,
    bar: tqdm[Any],
    told: Callable[[Load], None],
    rate: float | None,
    tls: TLS | None,
) -> Load:
    if metrics:
        count(metrics)  # an address that is wrong is told now
    images = images_for(model)
    load = workload(model, images)
    alone = time_alone(url, model, images[0], tls)
    many, each = REPEATS if rate else USUAL + 2, long_enough(rate or FIRST / alone, seconds)
    bar.total = bar.n + many
    tqdm.write(f"{model}: about {many} runs of {in_words(each)}, {in_words(many * each)} in all", file=sys.stderr)

    def heard(found: Search) -> None:
        told(Load(load, alone, found, None, None))

    found = find_rate(url, load, alone, p99, seconds, heard, processes, metrics, rate=rate, tls=tls)
    if rate or not found.rate:
        return Load(load, alone, found, None, None)
    due = arrivals(steady(TOO_MUCH * found.rate, seconds))
    with passing(seconds, f"{model} {TOO_MUCH:g} times as many"):
        beyond = send(url, load, due, PATIENCE * found.p99, processes, metrics, tls)
    callers = max(1, round(TOO_MUCH * found.rate * alone))
    return Load(load, alone, found, beyond, _closed(url, model, images[0], callers, seconds, tls))


def find_rate(
    url: str,
    load: Workload,
    alone: float,
    p99: float,
    seconds: float,
    heard: Callable[[Search], None],
    processes: int = 1,
    metrics: str | None = None,
    *,
    rate: float | None = None,
    tls: TLS | None = None,
) -> Search:
    """The highest rate that keeps the target; or :data:`ALONE` times what one request alone takes, if that is more.

    Args:
        alone: seconds that one request alone takes.
        p99: seconds.
        heard: told what was tried so far, whenever a run has ended.
        rate: the only one that is tried; None searches.

    Raises:
        alexnet_client.AlexNetError: the server does not answer, or the generator is at its limits.
    """
    target = target_of(p99, alone)
    first = rate or FIRST / alone
    warm(url, load, first, tls)
    offered = runs(url, load, target, seconds, processes, metrics, tls)
    return confirm(offered, target, rate, heard) if rate else search(offered, target, first, heard)


def target_of(p99: float, alone: float) -> float:
    """The target in seconds: what is wanted, or :data:`ALONE` times what one request alone takes, if that is more."""
    return max(p99, ALONE * alone)


def warm(url: str, load: Workload, rate: float, tls: TLS | None = None) -> None:
    """Offer a rate for :data:`WARM_UP` seconds, which does not count."""
    offer(url, load, arrivals(steady(rate, WARM_UP)), PATIENCE, tls=tls)


def runs(
    url: str,
    load: Workload,
    target: float,
    seconds: float,
    processes: int = 1,
    metrics: str | None = None,
    tls: TLS | None = None,
) -> Callable[[float], Outcome]:
    """What offers a rate to a server, long enough for a 99th percentile; no two runs are alike.

    Args:
        target: seconds of the 99th percentile.
        seconds: a run, at least.
    """
    seeds = iter(range(1, 10_000))

    def run(rate: float) -> Outcome:
        lasts = long_enough(rate, seconds)
        due = arrivals(steady(rate, lasts), seed=next(seeds))
        with passing(lasts, f"{load.model} {rate:.0f}/s"):
            return send(url, load, due, PATIENCE * target, processes, metrics, tls)

    return run


def long_enough(rate: float, seconds: float) -> float:
    """Seconds of a run: so many, or what a percentile's requests take, and three deviations, as they come by chance."""
    return max(seconds, 1.15 * FEWEST / rate)


def send(
    url: str,
    load: Workload,
    due: NDArray[np.float64],
    deadline: float,
    processes: int,
    metrics: str | None,
    tls: TLS | None,
) -> Outcome:
    """One run, with what the server counted meanwhile if its metrics' URL is known.

    Args:
        due: seconds from the start.
        deadline: seconds that each request may take.
    """
    before = metrics and _counted(metrics)
    outcome = offer(url, load, due, deadline, processes=processes, tls=tls)
    after = metrics and _counted(metrics)
    return replace(outcome, server=between(before, after)) if before and after else outcome


def _counted(metrics: str) -> Counted | None:
    """A run counts, though the server does not tell for once."""
    with suppress(LoadTestError):
        return count(metrics)
    return None


def time_alone(
    url: str,
    model: str,
    image: bytes | NDArray[np.uint8] | Sequence[bytes | NDArray[np.uint8]],
    tls: TLS | None = None,
) -> float:
    """Seconds that one request, of an image or of several, takes when there is no other: the median.

    Raises:
        alexnet_client.AlexNetError: the server does not answer.
    """
    took = []
    with AlexNetClient(url, model, timeout=60, tls=tls) as client:
        for _ in range(2 * TRIES):
            before = time.perf_counter()
            client.embed(image)
            took.append(time.perf_counter() - before)
    return median(took[TRIES:])


def _closed(
    url: str, model: str, image: bytes | NDArray[np.uint8], callers: int, seconds: float, tls: TLS | None
) -> Closed:
    """What a tool says whose callers wait for their answers."""
    point = measure_clients(url, model, callers, seconds, image, tls=tls)
    return Closed(callers, point.images_per_second, point.p99_ms / 1000)


def as_text(loads: Sequence[Load]) -> str:
    """A table of what was found, and one of what twice as much looks like in an open and in a closed loop."""
    lines = [f"{'model':14}{'alone ms':>9}{'p99 wanted':>11}{'rate /s':>9}{'p50 ms':>8}{'p99 ms':>8}{'generator':>11}"]
    lines += [_found(load) for load in loads]
    beyond = f"at {TOO_MUCH:g} times that"
    if any(load.beyond for load in loads):
        lines += ["", f"{beyond:22}{'answered /s':>12}{'in time /s':>11}{'p99 ms':>9}"]
    for load in loads:
        if load.beyond and load.closed:
            lines.append(
                f"{load.workload.model + ', open':22}{load.beyond.throughput:12.1f}"
                f"{load.beyond.goodput(load.found.p99):11.1f}{1000 * load.beyond.percentile(99):9.0f}"
                f"  {_shape(load.beyond)}"
            )
            lines.append(
                f"{load.workload.model + ', closed':22}{load.closed.throughput:12.1f}{'':11}"
                f"{1000 * load.closed.p99_seconds:9.0f}  its callers wait"
            )
    return "\n".join(lines)


def _found(load: Load) -> str:
    begin = f"{load.workload.model:14}{1000 * load.alone:9.1f}{1000 * load.found.p99:11.0f}"
    if not load.found.ended:
        many, last = len(load.found.runs), load.found.runs[-1]
        return f"{begin}   stopped after {many} run{'s' * (many > 1)}, the last at {last.rate:.1f}/s: {last.verdict}"
    if not load.found.rate:
        last = next(run for run in reversed(load.found.runs) if not run.verdict.kept)
        return f"{begin}   none is kept: at {last.rate:.1f}/s {last.verdict}"
    runs = [run.outcome for run in load.found.confirmed]
    p50, p99 = (1000 * median(run.percentile(percent) for run in runs) for percent in (50, 99))
    return f"{begin}{load.found.rate:9.1f}{p50:8.1f}{p99:8.1f}{max(run.cores for run in runs):6.2f} core"


def _shape(outcome: Outcome) -> str:
    refused = 1 - outcome.answered.mean()
    grows = drift(outcome)
    said = [f"{100 * refused:.0f} % refused"] if refused > 0.01 else []
    said += [f"latency grows {grows:.1f} times from the first quarter to the last"] if grows > 1.5 else []
    return ", ".join(said) or "held"


def as_report(loads: Sequence[Load], server: Server) -> LoadReport:
    """Everything, with what it was measured on."""
    return LoadReport.now([_model(load) for load in loads], server)


def _model(load: Load) -> ModelReport:
    p99, rate = load.found.p99, load.found.rate
    return ModelReport(
        model=load.workload.model,
        batch=load.workload.batch,
        alone_seconds=load.alone,
        p99_target_seconds=p99,
        rate=rate,
        runs=tuple(RunReport.of(run, p99) for run in load.found.runs),
        beyond=RunReport.of(Run(TOO_MUCH * rate, load.beyond, judge(load.beyond, p99)), p99) if load.beyond else None,
        closed=load.closed,
        ended=load.found.ended,
    )
