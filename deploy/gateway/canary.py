"""``python -m deploy.gateway.canary``: gives a gateway's canary its share of the traffic, by what Prometheus knows.

Beside every gateway runs one. It keeps nothing: the share follows from what Prometheus has recorded, so that all
gateways agree, and that one that starts anew goes on where it was. Whenever it knows too little, the share is 0.
"""

from __future__ import annotations

import argparse
import http.client
import json
import logging
import sys
import threading
import urllib.error
import urllib.parse
import urllib.request
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from alexnet_client.command import run, stopped
from deploy.serve.unix_http import ask

log = logging.getLogger("deploy.gateway.canary")

#: Envoy's runtime key: percent of inferences that are the canary's.
PERCENT = "canary.percent"
#: Seconds: between two looks; and that Prometheus remembers what ended a canary, and how long it has done well.
EVERY, MEMORY = 2, "1d"
#: Until Prometheus' answer.
_PATIENCE = 5.0


@dataclass(frozen=True, slots=True)
class Seen:
    """What Prometheus knows of a canary."""

    #: It has the metrics of canary and gateway, and evaluates the rules.
    watched: bool
    #: The alerts that fired.
    ended_by: tuple[str, ...]
    #: In which it had traffic.
    seconds: float


@dataclass(frozen=True, slots=True)
class Share:
    """Percent of the traffic, and why."""

    percent: int
    reason: str


def share(seen: Seen | None, steps: Sequence[int], step_seconds: float) -> Share:
    """What a canary gets.

    Args:
        seen: None if Prometheus cannot be asked.
        steps: percents, one after the other; the last one stays.
        step_seconds: that each takes.
    """
    if seen is None:
        return Share(0, "Prometheus cannot be asked")
    if seen.ended_by:
        return Share(0, f"ended by {', '.join(seen.ended_by)}")
    if not seen.watched:
        return Share(0, "Prometheus does not have the metrics of both, or not the rules")
    step = min(int(seen.seconds / step_seconds), len(steps))
    if step == len(steps):
        return Share(steps[-1], "it has done well: make its models the first release's")
    return Share(steps[step], f"step {step + 1} of {len(steps)}")


def look(prometheus: str, canary: str) -> Seen | None:
    """What Prometheus knows of a canary.

    Args:
        prometheus: its URL.
        canary: the label that its metrics have.

    Returns:
        None if Prometheus does not answer.
    """
    name = f'canary="{canary}"'
    alerts = f'max by (alertname) (max_over_time(ALERTS{{aborts="canary", alertstate="firing", {name}}}[{MEMORY}]))'
    rate = f"alexnet:canary_calls:rate1m{{{name}}}"
    try:
        watched = bool(_ask(prometheus, f"alexnet:canary_watched:bool{{{name}}}"))
        ended_by = tuple(sorted(sample["metric"]["alertname"] for sample in _ask(prometheus, alerts)))
        # Of every EVERY seconds, whether there was enough to see.
        seconds = _ask(prometheus, f"count_over_time(({rate} > 0)[{MEMORY}:{EVERY}s]) * {EVERY}")
    except (OSError, http.client.HTTPException, ValueError, KeyError, TypeError) as error:
        log.warning("%s: %s", prometheus, error)
        return None
    return Seen(watched, ended_by, max((float(sample["value"][1]) for sample in seconds), default=0.0))


def _ask(prometheus: str, expression: str) -> list[dict[str, Any]]:
    query = urllib.parse.urlencode({"query": expression})
    request = f"{prometheus.rstrip('/')}/api/v1/query?{query}"
    with urllib.request.urlopen(request, timeout=_PATIENCE) as answer:
        found: list[dict[str, Any]] = json.load(answer)["data"]["result"]
        return found


def give(admin: Path, percent: int) -> None:
    """Have Envoy give the canary so much.

    Raises:
        OSError: nobody answers at the socket ``admin``.
    """
    ask(admin, f"/runtime_modify?{PERCENT}={percent}", "POST")


def keep(
    admin: Path, prometheus: str, canary: str, steps: Sequence[int], step_seconds: float, stopping: threading.Event
) -> None:
    """Give the canary its share until ``stopping``, and nothing after that.

    Args:
        admin: the socket of Envoy's administration.
        prometheus, canary: as of :func:`look`.
        steps, step_seconds: as of :func:`share`.
    """
    said: Share | None = None
    try:
        while not stopping.is_set():
            now = share(look(prometheus, canary), steps, step_seconds)
            try:
                give(admin, now.percent)
            except OSError as error:  # it starts, or has left
                log.warning("%s: %s", admin, error)
            else:
                if now != said:
                    log.info("canary %s: %d %%: %s", canary, now.percent, now.reason)
                said = now
            stopping.wait(EVERY)
    finally:
        with suppress(OSError):
            give(admin, 0)


def main(arguments: list[str] | None = None) -> int:
    """Give a canary its share until SIGTERM or Ctrl-C; returns the exit status."""
    parser = argparse.ArgumentParser(prog="python -m deploy.gateway.canary", description=main.__doc__)
    parser.add_argument("steps", nargs="+", type=_percent, metavar="PERCENT", help="of inferences, one after the other")
    parser.add_argument("--admin", type=Path, required=True, help="socket of Envoy's administration")
    parser.add_argument("--prometheus", type=_url, required=True, help="its URL")
    parser.add_argument("--canary", required=True, help="label `canary` of its metrics")
    parser.add_argument("--step-seconds", type=float, default=600.0, help="that each step takes (%(default)s)")
    options = parser.parse_args(arguments)
    logging.basicConfig(format="%(asctime)s %(message)s", level=logging.INFO, stream=sys.stderr)
    stopping = stopped()
    return run("python -m deploy.gateway.canary", lambda: _keep(options, stopping))


def _keep(options: argparse.Namespace, stopping: threading.Event) -> int:
    keep(options.admin, options.prometheus, options.canary, options.steps, options.step_seconds, stopping)
    return 0


def _percent(text: str) -> int:
    if not text.isdecimal() or not 1 <= int(text) <= 100:
        raise argparse.ArgumentTypeError(f"got {text}, want 1 to 100")
    return int(text)


def _url(text: str) -> str:
    if urllib.parse.urlparse(text).scheme not in ("http", "https"):
        raise argparse.ArgumentTypeError(f"got {text}, want http://HOST:PORT")
    return text


if __name__ == "__main__":
    sys.exit(main())
