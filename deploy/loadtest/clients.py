"""Threads that ask through the Python client: all through one, or each through its own."""

from __future__ import annotations

import threading
import time
from contextlib import ExitStack, suppress

import numpy as np
from numpy.typing import NDArray

from alexnet_client import TLS, AlexNetClient
from deploy.loadtest.idle import Idle
from deploy.loadtest.measurement import EACH_ITS_CLIENT, ONE_CLIENT, Measurement, latencies


def measure_clients(
    url: str,
    model: str,
    threads: int,
    seconds: float,
    image: bytes | NDArray[np.uint8],
    what: str = EACH_ITS_CLIENT,
    tls: TLS | None = None,
) -> Measurement:
    """So many threads, each embedding one image after the other for so many seconds, after one that does not count.

    Args:
        image: a file, or pixels ``uint8[H, W, 3]``.
        what: :data:`ONE_CLIENT` for all threads, or else one each.
        tls: who the server must be; None is plain text.

    Raises:
        alexnet_client.AlexNetError: the server did not answer.
    """
    durations: list[list[float]] = [[] for _ in range(threads)]
    errors: list[BaseException] = []
    ready = threading.Barrier(threads + 1)

    def ask(client: AlexNetClient, mine: list[float]) -> None:
        try:
            client.embed(image)
            ready.wait()
            end = time.perf_counter() + seconds
            while (before := time.perf_counter()) < end:
                client.embed(image)
                mine.append(time.perf_counter() - before)
        except BaseException as error:
            errors.append(error)
            ready.abort()

    with ExitStack() as stack:
        made = [
            stack.enter_context(AlexNetClient(url, model, timeout=60, tls=tls))
            for _ in range(1 if what == ONE_CLIENT else threads)
        ]
        workers = [
            threading.Thread(target=ask, args=(made[number % len(made)], mine)) for number, mine in enumerate(durations)
        ]
        for worker in workers:
            worker.start()
        with suppress(threading.BrokenBarrierError):  # the error that broke it is raised below
            ready.wait()
        started = time.perf_counter()
        with Idle() as idle:
            for worker in workers:
                worker.join()
        wall = time.perf_counter() - started
    for error in errors:
        if not isinstance(error, threading.BrokenBarrierError):
            raise error
    every = np.concatenate([np.array(each) for each in durations])
    return Measurement(what, model, len(every) / wall, *latencies(every), callers=threads, idle=idle.share)
