"""One run: a schedule and a workload against a server, and what came of it.

``python -m deploy.loadtest offer --rate 100``.
"""

from __future__ import annotations

import argparse
from dataclasses import dataclass
from itertools import cycle, islice

import numpy as np
from numpy.typing import NDArray

from alexnet_client import TLS
from alexnet_client.contract import SERVED_MODELS
from deploy.loadtest import schedule
from deploy.loadtest.load import IMAGES, PATIENCE, SECONDS, images_for, long_enough, running, send, time_alone, warm
from deploy.loadtest.load_report import LoadReport, ModelReport, RunReport
from deploy.loadtest.number import COUNT, NOT_NEGATIVE, POSITIVE, SHARE
from deploy.loadtest.open_loop import OK
from deploy.loadtest.passing import passing
from deploy.loadtest.schedule import Schedule
from deploy.loadtest.search import Run
from deploy.loadtest.served import describe
from deploy.loadtest.server_time import count
from deploy.loadtest.verdict import FEWEST, judge
from deploy.loadtest.workload import OUTPUTS, Workload, mixed, workload

#: Distinct requests, at least, where one has many images.
REQUESTS = 4
#: Of the rate that a server has for one caller alone: what warms it up.
GENTLE = 0.5


@dataclass(frozen=True)
class Offered:
    """A run, and what it was of."""

    schedule: Schedule
    workload: Workload
    #: What was asked, in words.
    asked: str
    #: Seconds that one request alone takes: the median.
    alone: float
    #: Seconds of the 99th percentile.
    target: float
    run: Run

    def __str__(self) -> str:
        outcome, target = self.run.outcome, self.target
        late = 1000 * float(np.percentile(outcome.lag, 99))
        lost = ", ".join(f"{many} {status}" for status, many in outcome.statuses.most_common() if status != OK)
        shown = {f"p{percent:g}": outcome.percentile(percent) for percent in (50, 90, 99, 99.9)}
        shown["max"] = outcome.percentile(100)
        latency = "  ".join(f"{name} {1000 * seconds:.1f}" for name, seconds in shown.items())
        return "\n".join(
            (
                f"{self.workload.model}, {self.asked}",
                f"came {self.schedule.text}, {len(outcome.due)} requests in {self.schedule.seconds:g} s",
                f"came        {outcome.offered:9.1f} /s",
                f"answered    {outcome.throughput:9.1f} /s",
                f"in time     {outcome.goodput(target):9.1f} /s   within {1000 * target:g} ms of when it was due",
                f"unanswered  {100 * (1 - outcome.answered.mean()):9.2f} %    {lost}".rstrip(),
                f"latency ms  {latency}",
                f"generator   {outcome.cores:9.2f} of a core in the busiest of {outcome.processes} processes, "
                f"late by {late:.1f} ms (p99)",
                str(self.run.verdict),
            )
        )

    def as_report(self) -> ModelReport:
        """What misses the target is told as too much."""
        told = RunReport.of(self.run, self.target)
        kept, beyond = self.run.verdict.kept, bool(self.run.verdict.missed and not self.run.verdict.invalid)
        return ModelReport(
            model=self.workload.model,
            batch=self.workload.batch,
            alone_seconds=self.alone,
            p99_target_seconds=self.target,
            rate=self.run.rate if kept else 0.0,
            runs=() if beyond else (told,),
            beyond=told if beyond else None,
            closed=None,
            schedule=self.schedule.text,
            asked=self.asked,
        )


def add_options(parser: argparse.ArgumentParser) -> None:
    """Those of one run alone."""
    schedule.add_options(parser)
    parser.add_argument("--seconds", type=POSITIVE, help=f"({SECONDS:g}, or as long as {FEWEST} requests take)")
    parser.add_argument("--batch", type=COUNT, default=1, help="images a request (%(default)s)")
    parser.add_argument("--outputs", choices=OUTPUTS, default="embed", help="(%(default)s)")
    parser.add_argument(
        "--mix", type=_share, metavar="MODEL=SHARE", help="that share of the requests is another model's"
    )
    parser.add_argument(
        "--zipf", type=NOT_NEGATIVE, default=0.0, metavar="S", help="exponent of repeats; 0 is all alike"
    )
    parser.add_argument("--bad", type=SHARE, default=0.0, metavar="SHARE", help="of requests with a bad file (0)")
    parser.add_argument("--deadline", type=POSITIVE, metavar="MS", help=f"of a request ({PATIENCE} times --p99)")


def run(options: argparse.Namespace, tls: TLS | None = None) -> tuple[Offered, LoadReport]:
    """Offer it, after a warm-up that does not count.

    Args:
        tls: who the server at ``--url`` must be; None is plain text.

    Raises:
        alexnet_client.AlexNetError: an option cannot be meant, or the server does not start or answer.
    """
    when = schedule.schedule(options, 1.0 if options.seconds is None else options.seconds)
    if options.seconds is None:
        when = schedule.schedule(options, long_enough(when.rate, SECONDS))
    load, images, asked = _workload(options, options.model)
    if options.mix:
        model, share = options.mix
        load = mixed(load, _workload(options, model, bad=0.0)[0], share)
        asked += f", {100 * share:g} % of the requests to {model}"
    target = options.p99 / 1000
    deadline = PATIENCE * target if options.deadline is None else options.deadline / 1000
    with running(options.url, options.repository, options.metrics) as (url, metrics):
        if metrics:
            count(metrics)  # an address that is wrong is told now
        alone = time_alone(url, options.model, images, tls)
        warm(url, load, min(when.rate, GENTLE / alone), tls)
        with passing(when.seconds, "offer"):
            outcome = send(url, load, when.due(options.seed), deadline, options.processes, metrics, tls)
        server = describe(url, load.model.split("+"), started=not options.url, tls=tls)
    verdict = judge(outcome, target, level=when.level)
    offered = Offered(when, load, asked, alone, target, Run(when.rate, outcome, verdict, confirms=True))
    return offered, LoadReport.now([offered.as_report()], server)


def _workload(
    options: argparse.Namespace, model: str, bad: float | None = None
) -> tuple[Workload, list[bytes | NDArray[np.uint8]], str]:
    """What a model is sent, the images of its first request, and what it is in words."""
    bad = options.bad if bad is None else bad
    wanted = max(IMAGES, REQUESTS * options.batch)
    images = list(islice(cycle(images_for(model)), wanted))
    load = workload(model, images, batch=options.batch, outputs=options.outputs, bad=bad, zipf=options.zipf)
    asked = f"{options.batch} image{'s' * (options.batch > 1)} a request, {options.outputs}"
    asked += f", repeats by Zipf's law ({options.zipf:g})" if options.zipf else ""
    asked += f", {100 * options.bad:g} % bad files" if options.bad else ""
    return load, images[: options.batch], asked


def _share(text: str) -> tuple[str, float]:
    model, equals, share = text.partition("=")
    try:
        if equals and model in SERVED_MODELS:
            return model, float(share)
    except ValueError:
        pass
    raise argparse.ArgumentTypeError(f"got {text!r}, want MODEL=SHARE, such as {SERVED_MODELS[0]}=0.2")
