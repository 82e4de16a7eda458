"""``make bench``: in-process and served, in one run, side by side. ``python -m deploy.loadtest --help``."""

from __future__ import annotations

import argparse
import json
import sys
from pathlib import Path

from alexnet_client.command import run
from alexnet_client.files import atomic_path
from deploy.loadtest import report
from deploy.loadtest.bench import measure_all

BUILD = Path("build")


def main(arguments: list[str] | None = None) -> int:
    """Measure; returns the exit status: 0, or 1 with one line on standard error."""
    parser = argparse.ArgumentParser(prog="python -m deploy.loadtest", description=main.__doc__)
    parser.add_argument("--repository", type=Path, default=BUILD / "repository", help="(%(default)s)")
    parser.add_argument("--artefacts", type=Path, default=BUILD / "artefacts", help="(%(default)s)")
    parser.add_argument("--output", type=Path, default=BUILD / "bench" / "report.json", help="(%(default)s)")
    parser.add_argument("--rounds", type=int, default=3, help="each point once a round, medians count (%(default)s)")
    parser.add_argument("--seconds", type=float, default=3.0, help="a point and round, at least (%(default)s)")
    options = parser.parse_args(arguments)
    return run("make bench", lambda: _bench(options))


def _bench(options: argparse.Namespace) -> int:
    figures = measure_all(options.repository, options.artefacts, options.rounds, options.seconds)
    with atomic_path(options.output) as partial:
        partial.write_text(json.dumps(report.as_json(figures), indent=2) + "\n")
    print(report.as_text(figures))
    print(f"\nevery figure: {options.output}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
