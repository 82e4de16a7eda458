"""An open loop: requests come when they come, whether or not earlier ones are answered, as from the world outside.

A closed loop (``perf_analyzer``'s callers, each waiting for its answer) slows down with the server and so never
overloads it. Latency counts from when a request was due, not from when the generator got round to it (Tene's
"coordinated omission").
"""

from __future__ import annotations

import threading
import time
from collections import Counter
from dataclasses import dataclass

import grpc
import numpy as np
from numpy.typing import NDArray

from deploy.serve.envoy import INFER


@dataclass(frozen=True, slots=True)
class Offered:
    """What became of the requests that were offered."""

    rate: float
    seconds: float
    #: gRPC status -> requests; ``OK`` in time only, as the deadline is the client's.
    statuses: Counter[str]
    #: Of those that were answered, from when each was due; unsorted.
    latencies: NDArray[np.float64]
    #: The longest that a request waited for this generator.
    lag: float

    @property
    def goodput(self) -> float:
        """Requests a second that were answered in time."""
        return self.statuses["OK"] / self.seconds


def offer(url: str, message: bytes, rate: float, seconds: float, deadline: float, seed: int = 0) -> Offered:
    """Offer a request at random times (a Poisson process).

    Args:
        message: a serialised ``ModelInferRequest``.
        rate: requests a second, on average.
        deadline: seconds that each may take from when it was due.
    """
    due = np.cumsum(np.random.default_rng(seed).exponential(1 / rate, round(rate * seconds)))
    statuses: Counter[str] = Counter()
    latencies: list[float] = []
    done, lock = threading.Semaphore(0), threading.Lock()

    with grpc.insecure_channel(url) as channel:
        infer = channel.unary_unary(INFER)
        infer(message, timeout=60)
        started, lag = time.perf_counter(), 0.0

        def record(call: grpc.Future, at: float) -> None:
            took = time.perf_counter() - started - at
            with lock:
                statuses[call.code().name] += 1
                if call.code() is grpc.StatusCode.OK:
                    latencies.append(took)
            done.release()

        for at in due:
            wait = at - (time.perf_counter() - started)
            if wait > 0:
                time.sleep(wait)
            lag = max(lag, -wait)
            call = infer.future(message, timeout=deadline + min(wait, 0.0))
            call.add_done_callback(lambda call, at=at: record(call, at))
        for _ in due:
            done.acquire()
    return Offered(rate, float(due[-1]), statuses, np.array(latencies), lag)
