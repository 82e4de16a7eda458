"""What a server does under load, and what that costs: ``python -m deploy.loadtest --help``."""

from __future__ import annotations

import argparse
import json
from collections.abc import Callable, Sequence
from pathlib import Path

from alexnet_client import TLS
from alexnet_client.command import INTERRUPTED, leave, run
from alexnet_client.contract import SERVED_MODELS, precision_model
from alexnet_client.errors import AlexNetError
from alexnet_client.files import atomic_path
from deploy.loadtest import caller, comparison, load, load_report, offer
from deploy.loadtest.configure import command as configure
from deploy.loadtest.interruptible import interruptible
from deploy.loadtest.load_report import LoadReport, Server
from deploy.loadtest.loadgen import command as loadgen
from deploy.loadtest.loadtest_error import LoadTestError, WrongUsage
from deploy.loadtest.number import COUNT, NOT_NEGATIVE, POSITIVE, WHOLE
from deploy.loadtest.overload import as_table, measure_overload
from deploy.serve.probe import wait_until_ready

BUILD = Path("build")
#: Exit status of what was measured and is not good, as a target that is missed, and of what cannot be told.
MISSED, CANNOT_TELL = 1, LoadTestError.exit_status
STATUSES = (
    f"Exit status: 0; {MISSED} for a missed target, a regression or a wrong answer; {WrongUsage.exit_status} for wrong "
    f"usage; {CANNOT_TELL} where it cannot be told: measure again; {INTERRUPTED} after Ctrl-C or SIGTERM."
)
#: What a command does, and what it returns: the exit status.
Command = Callable[[argparse.Namespace], int]


def main(arguments: list[str] | None = None) -> int:
    """Measure; returns the exit status, as ``--help`` says."""
    options = _parser().parse_args(arguments)
    with interruptible():
        return run(f"python -m deploy.loadtest {options.what}", lambda: _told(options))


def _told(options: argparse.Namespace) -> int:
    """1 is for what was measured, and an error is none."""
    command: Command = options.run
    try:
        return command(options)
    except AlexNetError as error:
        if error.exit_status == MISSED:
            raise LoadTestError(str(error)) from error
        raise


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="python -m deploy.loadtest", description=__doc__, epilog=STATUSES)
    commands = parser.add_subparsers(dest="what", required=True)

    def add(name: str, does: Command, text: str, *parents: argparse.ArgumentParser) -> argparse.ArgumentParser:
        made = commands.add_parser(name, help=text, description=text, parents=[*parents])
        made.set_defaults(run=does)
        return made

    served, written, repeated, asked, sent = (argparse.ArgumentParser(add_help=False) for _ in range(5))
    served.add_argument("--repository", type=Path, default=BUILD / "repository", help="what is served (%(default)s)")
    written.add_argument("--output", type=Path, default=BUILD / "bench", help="folder of reports (%(default)s)")
    repeated.add_argument("--rounds", type=COUNT, default=3, help="each point once a round (%(default)s)")
    repeated.add_argument("--seconds", type=POSITIVE, default=3.0, help="a point and round, at least (%(default)s)")
    asked.add_argument("--url", help="host:port of a server that runs; one is started on --repository otherwise")
    asked.add_argument("--p99", type=POSITIVE, default=100.0, metavar="MS", help="the target (%(default)s)")
    sent.add_argument("--processes", type=COUNT, default=1, help="of the generator (%(default)s)")
    sent.add_argument("--metrics", metavar="URL", help="of the metrics of --url")
    sent.add_argument("--wait", type=NOT_NEGATIVE, default=0.0, metavar="SECONDS", help="for --url to be ready (0)")
    sent.add_argument("--no-page", action="store_true", help="the report alone; `page` makes one of it later")
    one = argparse.ArgumentParser(add_help=False)
    one.add_argument("--model", choices=SERVED_MODELS, default=precision_model("int8"), help="(%(default)s)")
    one.add_argument("--data", type=Path, default=BUILD / "fashion-mnist", help="images (%(default)s)")

    bench = add("bench", _bench, "throughput and latency, in process and served", served, written, repeated)
    bench.add_argument("--artefacts", type=Path, default=BUILD / "artefacts", help="(%(default)s)")
    add("caller", _caller, "what the client library costs whoever calls", served, repeated)
    opened = (served, written, asked, sent)
    made = add("load", _load, "the highest rate under a p99, in an open loop, and a page of it", *opened)
    made.add_argument("--models", nargs="+", default=load.MODELS, metavar="MODEL", help="(%(default)s)")
    made.add_argument("--seconds", type=POSITIVE, default=load.SECONDS, help="a run, at least (%(default)s)")
    made.add_argument("--rate", type=POSITIVE, help="a second: is it kept? nothing is searched")
    once = add("offer", _offer, "one run of a schedule and a workload, in an open loop, and a page of it", *opened)
    once.add_argument("--model", choices=SERVED_MODELS, default=precision_model("int8"), help="(%(default)s)")
    offer.add_options(once)
    page = add("page", _page, "the page of load's reports again")
    page.add_argument("reports", nargs="+", type=Path, metavar="JSON", help="what load wrote")
    compare = add("compare", _compare, "whether a server has become slower, by two of load's reports")
    compare.add_argument("old", type=Path, help="what load wrote, JSON")
    compare.add_argument("new", type=Path, help="and later")
    compare.add_argument("--anyway", action="store_true", help="also of different machines or targets")
    loadgen.add_options(add("loadgen", _loadgen, "MLCommons' LoadGen drives a model", served, written, asked, one))
    search = add("configure", _configure, "is there a better configuration for this machine?", served, written, one)
    search.add_argument("--p99", type=POSITIVE, default=100.0, metavar="MS", help="the target (%(default)s)")
    configure.add_options(search)
    add("overload", _overload, "what is answered in time when far more is asked", served)
    campaign = add("faults", _faults, "faults under load of which every answer is checked", served)
    campaign.add_argument("--rounds", type=COUNT, default=3, help="(%(default)s)")
    stopped = add("pauses", _pauses, "backend processes that are stopped and go on: is an answer ever wrong?", served)
    stopped.add_argument("--pauses", type=COUNT, default=300, help="(%(default)s)")
    stopped.add_argument("--unwatched", action="store_true", help="with nobody who ends what was stopped")
    long = add("soak", _soak, "mixed load and releases: does anything grow?", served, written)
    long.add_argument("--minutes", type=POSITIVE, default=60.0, help="(%(default)s)")
    long.add_argument("--releases", type=WHOLE, default=100, help="that go live meanwhile (%(default)s)")
    return parser


# What an image of the server lacks, ONNX Runtime or matplotlib, is imported by the commands that need it.


def _bench(options: argparse.Namespace) -> int:
    from deploy.loadtest import report  # noqa: PLC0415
    from deploy.loadtest.bench import measure_all  # noqa: PLC0415

    figures = measure_all(options.repository, options.artefacts, options.rounds, options.seconds)
    output = options.output / "report.json"
    with atomic_path(output) as partial:
        partial.write_text(json.dumps(report.as_json(figures), indent=2) + "\n")
    print(report.as_text(figures))
    print(f"\nevery figure: {output}")
    return 0


def _caller(options: argparse.Namespace) -> int:
    print(caller.as_table(caller.measure_callers(options.repository, options.rounds, options.seconds)))
    return 0


def _faults(options: argparse.Namespace) -> int:
    from deploy.loadtest import faults  # noqa: PLC0415

    outcomes = faults.campaign(options.repository, options.rounds)
    print(faults.as_table(outcomes))
    return 0 if all(outcome.kept for outcome in outcomes) else 1


def _pauses(options: argparse.Namespace) -> int:
    from deploy.loadtest import pauses  # noqa: PLC0415

    tally = pauses.pauses(options.repository, options.pauses, watched=not options.unwatched)
    print(tally.as_text())
    return 1 if tally.wrong else 0


def _load(options: argparse.Namespace) -> int:
    """What was measured is written as it comes, and told however it ends."""
    tls, output = _tls(options), options.output / "load.json"
    measured: list[load.Load] = []

    def heard(loads: Sequence[load.Load], server: Server) -> None:
        measured[:] = loads
        load_report.write(load.as_report(loads, server), output)

    try:
        load.measure_load(
            options.url,
            options.repository,
            options.models,
            options.p99 / 1000,
            options.seconds,
            options.processes,
            options.metrics,
            heard,
            rate=options.rate,
            tls=tls,
        )
    finally:
        if measured:
            print(load.as_text(measured))
            _say_where(output, page=not options.no_page)
    return 0 if all(each.found.rate for each in measured) else MISSED


def _offer(options: argparse.Namespace) -> int:
    offered, report_of_it = offer.run(options, _tls(options))
    print(offered)
    output = options.output / "offer.json"
    load_report.write(report_of_it, output)
    _say_where(output, page=not options.no_page)
    verdict = offered.run.verdict
    return 0 if verdict.kept else MISSED if verdict.missed and not verdict.invalid else CANNOT_TELL


def _tls(options: argparse.Namespace) -> TLS | None:
    """Who the server at ``--url`` must be, once it is ready; one that is started here speaks plain text."""
    if not options.url:
        return None
    tls = TLS.from_environment()
    if options.wait:
        wait_until_ready(options.url, options.wait, tls)
    return tls


def _say_where(output: Path, *, page: bool) -> None:
    print(f"\nevery run: {output}")
    if page:
        print(f"as a page: {_write_page([load_report.read(output)], [], output.with_suffix('.html'))}")


def _page(options: argparse.Namespace) -> int:
    for path in options.reports:
        print(_write_page([load_report.read(path)], [], path.with_suffix(".html")))
    return 0


def _write_page(
    reports: Sequence[LoadReport], names: Sequence[str], path: Path, verdict: Sequence[str] = (), table: str = ""
) -> Path:
    from deploy.loadtest.page import write_page  # noqa: PLC0415

    write_page(reports, names, path, verdict, table)
    return path


def _compare(options: argparse.Namespace) -> int:
    reports = options.old, options.new
    old, new = map(load_report.read, reports)
    changes = comparison.compare(old, new, anyway=options.anyway)
    table, page = comparison.as_table(changes), options.new.with_name("compare.html")
    _write_page([old, new], [str(path) for path in reports], page, [str(change) for change in changes], table)
    print(table)
    print(f"\nside by side: {page}")
    return MISSED if any(change.verdict == comparison.REGRESSION for change in changes) else 0


def _configure(options: argparse.Namespace) -> int:
    text, status = configure.run(options)
    print(text)
    return status


def _loadgen(options: argparse.Namespace) -> int:
    text, status = loadgen.run(options)
    print(text)
    return status


def _overload(options: argparse.Namespace) -> int:
    print(as_table(measure_overload(options.repository)))
    return 0


def _soak(options: argparse.Namespace) -> int:
    from deploy.loadtest.soak import soak  # noqa: PLC0415

    seen = soak(options.repository, options.minutes, options.releases)
    output = options.output / "soak.csv"
    with atomic_path(output) as partial:
        partial.write_text(seen.as_csv())
    print(seen.as_text())
    print(f"\nevery sample: {output}")
    return 1 if seen.wrong else 0


if __name__ == "__main__":
    leave(main())
