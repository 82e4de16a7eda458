"""``python -m deploy.sizing``: replicas, devices, network and cost for a target rate and 99th percentile."""

from __future__ import annotations

import argparse
import math
import sys
from pathlib import Path

from alexnet_client.command import run
from deploy.sizing.plan import REQUEST_BYTES, Plan, Target, plan
from deploy.sizing.plot import REPLICAS, curve, draw
from deploy.sizing.replica import Replica, read

BUILD = Path("build")


def main(arguments: list[str] | None = None) -> int:
    """Size a deployment; returns the exit status: 0, or 1 with one line on standard error."""
    parser = argparse.ArgumentParser(prog="python -m deploy.sizing", description=main.__doc__)
    report = BUILD / "bench" / "load.json"
    parser.add_argument("--report", type=Path, default=report, help="of `python -m deploy.loadtest load` (%(default)s)")
    parser.add_argument("--model", help="of the report; may be left out if it has one")
    parser.add_argument(
        "--service", nargs="+", type=_point, metavar="IMAGES:MS", help="measured times of batches; else from the report"
    )
    parser.add_argument("--rate", type=float, required=True, help="requests a second, of one image each")
    parser.add_argument("--p99", type=float, required=True, metavar="MS", help="the target")
    parser.add_argument("--spare", type=int, default=1, help="replicas that may be missing (%(default)s)")
    parser.add_argument("--devices", type=float, default=1.0, help="cores or GPUs a replica (%(default)s)")
    parser.add_argument("--replica-cost", type=float, default=0.0, metavar="COST", help="of a replica, an hour")
    parser.add_argument("--request-bytes", type=int, default=REQUEST_BYTES, help="(%(default)s, an image's pixels)")
    parser.add_argument("--plot", action="store_true", help=f"what 1 to {REPLICAS[-1]} replicas do, simulated as well")
    parser.add_argument("--output", type=Path, default=BUILD / "sizing", help="of the plot (%(default)s)")
    options = parser.parse_args(arguments)
    return run("python -m deploy.sizing", lambda: _size(options))


def _size(options: argparse.Namespace) -> int:
    replica = read(options.report, options.model, dict(options.service or ()))
    target = Target(options.rate, options.p99 / 1000, options.spare, options.request_bytes)
    found = plan(replica, target, devices_each=options.devices, cost_each=options.replica_cost)
    print(_text(replica, target, found))
    if options.plot:
        points = curve(replica, target.p99)
        for point in points:
            print(
                f"{point.replicas:6d} replicas {point.rate:12,.0f} /s   p99: theory {1000 * point.theory:.1f} ms, "
                f"simulated at random {1000 * point.random:.1f} ms, least of two {1000 * point.two:.1f} ms"
            )
        print(f"plot: {draw(points, target, found, options.output)}")
    return 0


def _text(replica: Replica, target: Target, found: Plan) -> str:
    service, each = replica.service, found.rate_each
    lines = [
        f"{replica.model}: a batch takes {1000 * service.batch:.2f} ms and {1000 * service.image:.2f} ms an image, "
        f"a request {1000 * replica.overhead:.2f} ms beside it",
        f"one replica      {each:12,.1f} /s under p99 {1000 * target.p99:g} ms (measured: {replica.rate:,.1f} /s under "
        f"{1000 * replica.p99:g} ms); {100 * each / service.capacity:.0f} % of full batches",
        f"replicas         {found.replicas:12,d}, {target.spare} of them spare",
        f"no fewer than    {found.floor:12,d}, were every batch full; {found.pooled:,d} with one queue before them all",
        f"devices          {found.devices:12,g}",
        f"network in       {found.gigabits_in:12,.2f} Gbit/s, {found.gigabits_each:.3f} a replica",
        f"network out      {found.gigabits_out:12,.2f} Gbit/s, if embeddings are asked for",
    ]
    if found.cost_an_hour:
        lines.append(f"cost             {found.cost_an_hour:12,.2f} an hour, {found.cost_a_million:.3f} a million")
    return "\n".join(lines)


def _point(text: str) -> tuple[int, float]:
    images, _, milliseconds = text.partition(":")
    try:
        seconds = float(milliseconds) / 1000
        if not math.isfinite(seconds):
            raise ValueError
        return int(images), seconds
    except ValueError as error:
        raise argparse.ArgumentTypeError(f"got {text!r}: want IMAGES:MS, as 32:41.5") from error


if __name__ == "__main__":
    sys.exit(main())
