"""Replicas as events, one after the other (SimPy): what the theory leaves out, who is sent what, is in it.

A request goes to the least busy of ``choices`` replicas drawn at random: 1 is any; 2 is what Envoy's and gRPC's
least-request balancing does, and keeps queues even (Mitzenmacher, "The power of two choices in randomized load
balancing", IEEE TPDS 12, 2001).
"""

from __future__ import annotations

from collections import deque
from functools import partial

import numpy as np
import simpy
from numpy.typing import NDArray

from deploy.sizing.service import Service
from deploy.sizing.sizing_error import SizingError


class _Replica:
    """Two instances that take turns: see :mod:`deploy.sizing.batch_queue`."""

    def __init__(self, environment: simpy.Environment, service: Service, latencies: list[tuple[float, float]]) -> None:
        self._environment = environment
        self._service = service
        self._latencies = latencies
        self._queue: deque[float] = deque()
        self._bound: list[float] = []
        self._computes = False
        #: Requests that are not answered yet.
        self.busy = 0

    def take(self) -> None:
        """A request comes."""
        self.busy += 1
        self._queue.append(self._environment.now)
        self._go_on()

    def _go_on(self) -> None:
        while True:
            if not self._bound and self._queue:
                count = min(len(self._queue), self._service.largest)
                self._bound = [self._queue.popleft() for _ in range(count)]
            if self._computes or not self._bound:
                return
            batch, self._bound, self._computes = self._bound, [], True
            ends = self._environment.timeout(float(self._service.seconds(float(len(batch)))))
            ends.callbacks.append(partial(self._end, batch))

    def _end(self, batch: list[float], _: simpy.Event) -> None:
        now = self._environment.now
        self._latencies += [(arrived, now - arrived) for arrived in batch]
        self.busy -= len(batch)
        self._computes = False
        self._go_on()


def simulate(
    service: Service, rate: float, requests: int, *, replicas: int = 1, choices: int = 1, seed: int = 0
) -> NDArray[np.float64]:
    """Seconds that each request took, in the order of their arrival, without the first fifth, when queues fill.

    Args:
        rate: of all replicas, requests a second (Poisson).

    Raises:
        SizingError: there is no such system.
    """
    if rate <= 0 or requests < 1:
        raise SizingError(f"got {requests} requests, {rate:g} a second: want both above 0")
    due = np.cumsum(np.random.default_rng(seed).exponential(1 / rate, requests))
    return replay(service, due, replicas=replicas, choices=choices, seed=seed)[requests // 5 :]


def replay(
    service: Service, due: NDArray[np.float64], *, replicas: int = 1, choices: int = 1, seed: int = 0
) -> NDArray[np.float64]:
    """Seconds that requests at those times took, ascending, from empty queues on.

    Raises:
        SizingError: there is no such system.
    """
    if replicas < 1 or choices < 1:
        raise SizingError(f"got {replicas} replicas and {choices} choices: want both above 0")
    environment, latencies = simpy.Environment(), list[tuple[float, float]]()
    served = [_Replica(environment, service, latencies) for _ in range(replicas)]
    drawn = np.random.default_rng(seed + 1).integers(0, replicas, (len(due), choices)).tolist()

    def arrive() -> simpy.events.ProcessGenerator:
        for at, candidates in zip(due.tolist(), drawn, strict=True):
            yield environment.timeout(max(at - environment.now, 0.0))
            min([served[each] for each in candidates], key=lambda replica: replica.busy).take()

    environment.process(arrive())
    environment.run()
    return np.array(sorted(latencies))[:, 1]
