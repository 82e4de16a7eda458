"""``make bench`` and ``make soak``: speed, faults, and whether anything grows. ``python -m deploy.loadtest --help``."""

from __future__ import annotations

import argparse
import json
import sys
from pathlib import Path

from alexnet_client.command import run
from alexnet_client.files import atomic_path
from deploy.loadtest import caller, comparison, faults, load, load_report, report
from deploy.loadtest.bench import measure_all
from deploy.loadtest.loadtest_error import LoadTestError
from deploy.loadtest.overload import as_table, measure_overload
from deploy.loadtest.page import write_page
from deploy.loadtest.soak import soak

BUILD = Path("build")


def main(arguments: list[str] | None = None) -> int:
    """Measure; returns the exit status: 0, or 1 with one line on standard error."""
    parser = argparse.ArgumentParser(prog="python -m deploy.loadtest", description=main.__doc__)
    commands = {
        "bench": _bench,
        "caller": _caller,
        "compare": _compare,
        "faults": _faults,
        "load": _load,
        "overload": _overload,
        "page": _page,
        "soak": _soak,
    }
    parser.add_argument("what", nargs="?", choices=commands, default="bench", help="(%(default)s)")
    parser.add_argument("reports", nargs="*", type=Path, metavar="JSON", help="page: what load wrote; compare: OLD NEW")
    parser.add_argument("--anyway", action="store_true", help="compare: also of different machines or targets")
    parser.add_argument("--repository", type=Path, default=BUILD / "repository", help="(%(default)s)")
    parser.add_argument("--artefacts", type=Path, default=BUILD / "artefacts", help="(%(default)s)")
    parser.add_argument("--output", type=Path, default=BUILD / "bench" / "report.json", help="(%(default)s)")
    parser.add_argument("--rounds", type=int, default=3, help="each point once a round, medians count (%(default)s)")
    parser.add_argument("--minutes", type=float, default=60.0, help="of the soak (%(default)s)")
    parser.add_argument("--releases", type=int, default=100, help="that go live during the soak (%(default)s)")
    parser.add_argument("--seconds", type=float, default=3.0, help="a point and round, at least (%(default)s)")
    parser.add_argument("--url", help="load: host:port of a server that runs; one on --repository is started otherwise")
    parser.add_argument("--metrics", metavar="URL", help="load: of the server at --url, as http://host:8002/metrics")
    parser.add_argument("--models", nargs="+", default=load.MODELS, metavar="MODEL", help="load: (%(default)s)")
    parser.add_argument("--p99", type=float, default=100.0, metavar="MS", help="load: the target (%(default)s)")
    parser.add_argument("--processes", type=int, default=1, help="load: of the generator (%(default)s)")
    options = parser.parse_args(arguments)
    return run(f"python -m deploy.loadtest {options.what}", lambda: commands[options.what](options))


def _bench(options: argparse.Namespace) -> int:
    figures = measure_all(options.repository, options.artefacts, options.rounds, options.seconds)
    with atomic_path(options.output) as partial:
        partial.write_text(json.dumps(report.as_json(figures), indent=2) + "\n")
    print(report.as_text(figures))
    print(f"\nevery figure: {options.output}")
    return 0


def _caller(options: argparse.Namespace) -> int:
    print(caller.as_table(caller.measure_callers(options.repository, options.rounds, options.seconds)))
    return 0


def _faults(options: argparse.Namespace) -> int:
    outcomes = faults.campaign(options.repository, options.rounds)
    print(faults.as_table(outcomes))
    return 0 if all(outcome.kept for outcome in outcomes) else 1


def _load(options: argparse.Namespace) -> int:
    seconds = max(options.seconds, load.SECONDS)
    p99, url, metrics = options.p99 / 1000, options.url, options.metrics
    loads, server = load.measure_load(url, options.repository, options.models, p99, seconds, options.processes, metrics)
    output = options.output.with_name("load.json")
    report_of_load = load.as_report(loads, server)
    load_report.write(report_of_load, output)
    write_page([report_of_load], [], output.with_suffix(".html"))
    print(load.as_text(loads))
    print(f"\nevery run: {output}\nas a page: {output.with_suffix('.html')}")
    return 0 if all(each.found.rate for each in loads) else 1


def _page(options: argparse.Namespace) -> int:
    if not options.reports:
        raise LoadTestError("got no report: want the JSON that `python -m deploy.loadtest load` wrote")
    for path in options.reports:
        write_page([load_report.read(path)], [], path.with_suffix(".html"))
        print(path.with_suffix(".html"))
    return 0


def _compare(options: argparse.Namespace) -> int:
    if len(options.reports) != 2:
        raise LoadTestError(f"got {len(options.reports)} reports: want OLD.json and NEW.json")
    old, new = map(load_report.read, options.reports)
    changes = comparison.compare(old, new, anyway=options.anyway)
    table, page = comparison.as_table(changes), options.reports[1].with_name("compare.html")
    write_page([old, new], [str(path) for path in options.reports], page, [str(change) for change in changes], table)
    print(table)
    print(f"\nside by side: {page}")
    return 1 if any(change.verdict == comparison.REGRESSION for change in changes) else 0


def _overload(options: argparse.Namespace) -> int:
    print(as_table(measure_overload(options.repository)))
    return 0


def _soak(options: argparse.Namespace) -> int:
    seen = soak(options.repository, options.minutes, options.releases)
    output = options.output.with_name("soak.csv")
    with atomic_path(output) as partial:
        partial.write_text(seen.as_csv())
    print(seen.as_text())
    print(f"\nevery sample: {output}")
    return 1 if seen.wrong else 0


if __name__ == "__main__":
    sys.exit(main())
