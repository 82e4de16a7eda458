"""``python -m deploy.gateway.drain``: has a gateway take its leave, for a pod's preStop.

Envoy ends at once by SIGTERM, with whatever is under way. So before: it goes on while the cluster and balancers before
it learn that it leaves; then it tells its callers with each answer to connect elsewhere (HTTP/2's GOAWAY), and has as
long as they take.
"""

from __future__ import annotations

import argparse
import sys
import time
from pathlib import Path

from alexnet_client.command import run
from alexnet_client.errors import AlexNetError
from deploy.serve.unix_http import ask

#: Connections of callers.
CALLERS = "http.gateway.downstream_cx_active"


class DrainError(AlexNetError):
    """A gateway that cannot be asked to leave."""


def drain(admin: Path, least: float, most: float) -> None:
    """Return when nobody is connected any more, or time is up; who still is will be cut off.

    Args:
        admin: the socket of Envoy's administration.
        least: seconds that it goes on as if nothing were, while others learn that it leaves.
        most: seconds in all.

    Raises:
        DrainError: nobody answers there.
    """
    started = time.monotonic()
    try:
        time.sleep(least)  # ready: a node that has no other sends it new connections until its balancer knows
        ask(admin, "/healthcheck/fail", "POST")
        ask(admin, "/drain_listeners?inboundonly", "POST")
        while _callers(admin) and time.monotonic() - started < most:
            time.sleep(0.1)
    except OSError as error:
        raise DrainError(f"{admin}: no Envoy answers there ({error}): want its admin address, a pipe") from error


def _callers(admin: Path) -> int:
    return int(ask(admin, f"/stats?filter=^{CALLERS}$").partition(": ")[2] or 0)


def main(arguments: list[str] | None = None) -> int:
    """Wait until a gateway has answered; returns the exit status: 1, with one line, if there is none."""
    parser = argparse.ArgumentParser(prog="python -m deploy.gateway.drain", description=main.__doc__)
    parser.add_argument("--admin", type=Path, required=True, help="socket of Envoy's administration")
    parser.add_argument("--least", type=float, default=5.0, help="seconds that it goes on at least (%(default)s)")
    parser.add_argument("--most", type=float, default=30.0, help="seconds in all (%(default)s)")
    options = parser.parse_args(arguments)
    return run("python -m deploy.gateway.drain", lambda: _drain(options))


def _drain(options: argparse.Namespace) -> int:
    drain(options.admin, options.least, options.most)
    return 0


if __name__ == "__main__":
    sys.exit(main())
