"""``python -m deploy.loadtest loadgen``: MLCommons' LoadGen drives a served model."""

from __future__ import annotations

import argparse

from alexnet_client import TLS
from deploy.loadtest.load import running
from deploy.loadtest.loadgen.performance import measure_performance
from deploy.loadtest.loadgen.settings import OFFLINE, QUERIES, SCENARIOS, SECONDS, SERVER, Settings
from deploy.loadtest.number import COUNT, POSITIVE


def add_options(parser: argparse.ArgumentParser) -> None:
    """Those of LoadGen alone."""
    parser.add_argument("--scenario", choices=SCENARIOS, help=f"({SERVER}; of --accuracy {OFFLINE})")
    parser.add_argument("--accuracy", action="store_true", help="top-1 of the whole test split, against the proof's")
    parser.add_argument("--rate", type=POSITIVE, help="Server's, queries a second; otherwise it is searched for")
    parser.add_argument("--duration", type=POSITIVE, default=SECONDS, help="seconds, at least (%(default)s)")
    parser.add_argument("--queries", type=COUNT, default=QUERIES, help="at least (%(default)s)")


def run(options: argparse.Namespace) -> tuple[str, int]:
    """Run it; what to print, and the exit status: 1 for what is not valid or not equal.

    Raises:
        alexnet_client.AlexNetError: something is missing, or does not answer.
    """
    logs, tls = options.output / "loadgen", TLS.from_environment() if options.url else None
    with running(options.url, options.repository) as (url, _):
        if options.accuracy:
            from deploy.loadtest.loadgen.accuracy import measure_accuracy  # noqa: PLC0415  it needs training

            scenario = options.scenario or OFFLINE
            accuracy = measure_accuracy(
                url, options.model, options.repository, options.data, logs, scenario, options.rate, tls
            )
            return str(accuracy), 0 if accuracy.same else 1
        settings = Settings(
            options.scenario or SERVER,
            p99=options.p99 / 1000,
            seconds=options.duration,
            queries=options.queries,
        )
        done = measure_performance(url, options.model, settings, logs, options.rate, tls)
        return str(done), 0 if done.valid else 1
