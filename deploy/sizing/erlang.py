"""M/M/c: for comparison, replicas with one queue before them all.

Erlang 1917; Kleinrock, Queueing Systems I (1975), 3.5. Square-root staffing: Halfin and Whitt, "Heavy-traffic limits
for queues with many exponential servers", Operations Research 29 (1981).
"""

from __future__ import annotations

import math
from statistics import NormalDist

from deploy.sizing.sizing_error import SizingError


def waits(servers: int, load: float) -> float:
    """The probability that a call waits (Erlang's C), by Erlang's B from one server to the next, which cannot overflow.

    Args:
        load: calls in service on average, in erlangs: rate times seconds.

    Raises:
        SizingError: the load is not below the servers.
    """
    if not 0 <= load < servers:
        raise SizingError(f"{load:g} erlangs on {servers} servers: want fewer erlangs than servers")
    lost = 1.0
    for count in range(1, servers + 1):
        lost = load * lost / (count + load * lost)
    return lost / (1 - load / servers * (1 - lost))


def mean_wait(servers: int, rate: float, seconds: float) -> float:
    """Seconds that a call waits on average; ``seconds`` is a service's mean.

    Raises:
        SizingError: the servers cannot do it.
    """
    return waits(servers, rate * seconds) * seconds / (servers - rate * seconds)


def staffing(load: float, waiting: float) -> int:
    """Servers with which a share ``waiting`` of calls waits, for many servers: load + beta * sqrt(load).

    Raises:
        SizingError: the share is not between 0 and 1.
    """
    if not 0 < waiting < 1 or load <= 0:
        raise SizingError(f"got {load:g} erlangs, a share of {waiting:g} that waits: want more than 0, and from 0 to 1")
    low, high = 1e-9, 40.0
    for _ in range(100):
        beta = (low + high) / 2
        low, high = (beta, high) if _waits(beta) > waiting else (low, beta)
    return math.ceil(load + high * math.sqrt(load))


def _waits(beta: float) -> float:
    normal = NormalDist()
    return 1 / (1 + beta * normal.cdf(beta) / normal.pdf(beta))
