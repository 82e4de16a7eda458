"""Reports of servers that do not exist: a queue is simulated; the search and the report are the real ones."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

import numpy as np

from alexnet_client.contract import IMAGE
from deploy.loadtest.arrivals import arrivals, steady
from deploy.loadtest.load import TOO_MUCH, Load, as_report
from deploy.loadtest.load_report import Closed, LoadReport, Server
from deploy.loadtest.open_loop import OK, Outcome
from deploy.loadtest.search import search
from deploy.loadtest.server_time import ModelTime
from deploy.loadtest.workload import workload

P99, SECONDS = 0.1, 8.0
MODEL = "alexnet_int8"
WORKLOAD = workload(MODEL, [np.zeros(IMAGE.shape, np.uint8)])


def server(capacity: float, noise: float, seed: int) -> Callable[[float], Outcome]:
    """Offers a rate to a server of so many requests a second, which from run to run is faster or slower.

    Args:
        noise: standard deviation of the logarithm of a run's capacity.
    """
    random = np.random.default_rng(seed)

    def offer(rate: float) -> Outcome:
        due = arrivals(steady(rate, max(SECONDS, 550 / rate)), seed=int(random.integers(2**31)))
        mean = np.exp(noise * random.standard_normal()) / capacity
        takes = random.gamma(4, mean / 4, len(due))
        # Lindley: the end of each is its own time after the later of its arrival and the end before it.
        sums = np.cumsum(takes)
        ends = sums + np.maximum.accumulate(due - (sums - takes))
        refused = ends - due > 10 * P99
        return Outcome(
            due,
            lag=np.full(len(due), 0.0005),
            latency=ends - due,
            status=np.where(refused, "OVERLOADED", OK),
            batch=1,
            processes=1,
            cores=0.2,
            server=(_inside(takes, ends - due),),
        )

    return offer


def _inside(takes: np.ndarray, latency: np.ndarray) -> ModelTime:
    return ModelTime(
        MODEL,
        requests=len(takes),
        executions=len(takes) // 2,
        queue_seconds=float((latency - takes).sum()) * 0.8,
        input_seconds=0.0,
        infer_seconds=float(takes.sum()),
        output_seconds=0.0,
        batches={"1": len(takes) // 4, "4": len(takes) // 4},
    )


def report(capacity: float = 200.0, noise: float = 0.0, seed: int = 0) -> LoadReport:
    """As of a real search against such a server."""
    offer = server(capacity, noise, seed)
    found = search(offer, P99, 0.5 * capacity, lambda _: None)
    beyond = offer(TOO_MUCH * found.rate) if found.rate else None
    load = Load(WORKLOAD, 1 / capacity, found, beyond, Closed(2, 0.95 * capacity, 0.02) if beyond else None)
    described = Server(started=True, name="triton", version="2.51.0", models={MODEL: {"backend": "simulated"}})
    return replace(as_report([load], described), commit="0" * 40, when="2026-01-01T00:00:00Z")
