"""What the cores allow when each image is decoded and then classified on them: no server can do more."""

from __future__ import annotations

import os
from concurrent.futures import ThreadPoolExecutor

from alexnet_client.preprocess import decode
from deploy.loadtest.measurement import time_calls

#: Images in one go on the pool, for each of its threads.
EACH = 8


def decoding_speed(file: bytes, seconds: float) -> float:
    """Images a second that all cores decode, in process, by the served decoder's own function."""
    cores = len(os.sched_getaffinity(0))
    files = [file] * (EACH * cores)
    with ThreadPoolExecutor(cores) as pool:
        return time_calls(lambda: list(pool.map(decode, files)), len(files), seconds)[0]


def ceiling(decoding: float, network: float) -> float:
    """Images a second when the same cores do both, one after the other; speeds alone in images a second."""
    return 1 / (1 / decoding + 1 / network)
