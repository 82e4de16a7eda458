"""A quick look at a server: callers that ask through one client, their latencies, and what failed."""

from __future__ import annotations

import threading
import time
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field
from itertools import count
from typing import Any

import numpy as np

from alexnet_client import AlexNetClient, InvalidRequest, RequestError
from alexnet_client._images import ImageLike
from alexnet_client.contract import IMAGE

#: Callers of a rate: where all of them wait, the next call is late, and its latency counts from when it was due.
CALLERS = 64
PERCENTS = (50, 90, 99)


@dataclass(slots=True)
class Bench:
    """What came of it."""

    #: From the first call to the last answer.
    seconds: float
    #: Of each call that was answered, in seconds.
    latencies: list[float]
    #: Error's class -> calls.
    errors: Counter[str]
    #: The last that failed.
    last: RequestError | None = field(default=None, repr=False)

    @property
    def answered(self) -> float:
        """Calls a second."""
        return len(self.latencies) / self.seconds

    def as_row(self) -> dict[str, Any]:
        """For JSON: latencies in milliseconds, None where nothing was answered."""
        ms = np.array(self.latencies) * 1000
        marks = {**{f"p{percent}_ms": percent for percent in PERCENTS}, "longest_ms": 100}
        return {
            "seconds": round(self.seconds, 3),
            "answered": len(ms),
            "answered_a_second": round(self.answered, 2),
            **{name: round(float(np.percentile(ms, mark)), 3) if len(ms) else None for name, mark in marks.items()},
            "errors": dict(self.errors),
        }

    def __str__(self) -> str:
        """For people, a line, and one of errors."""
        row = self.as_row()
        lines = [f"{row['answered']} answered in {self.seconds:.1f} s: {self.answered:.1f} a second"]
        if self.latencies:
            times = ", ".join(f"p{percent} {row[f'p{percent}_ms']:.1f}" for percent in PERCENTS)
            lines.append(f"latency in ms: {times}, longest {row['longest_ms']:.1f}")
        lines += [f"failed: {failed} x {error}" for error, failed in self.errors.most_common()]
        return "\n".join(lines)


def bench(
    client: AlexNetClient,
    seconds: float,
    *,
    concurrency: int = 1,
    rate: float | None = None,
    images: Sequence[ImageLike] = (),
) -> Bench:
    """Embed one image after the other for so many seconds, after one call that does not count.

    Args:
        client: one that asks once: what it repeats cannot be seen.
        concurrency: callers, each of which asks again when it has its answer (a closed loop).
        rate: calls a second that are due, evenly, whether or not others are answered; in place of ``concurrency``. A
            latency counts from when its call was due.
        images: in turn; one of noise where there are none.

    Raises:
        InvalidRequest: a number cannot be meant.
        RequestError: the call before failed.
    """
    for name, value in (("seconds", seconds), ("concurrency", concurrency), ("rate", 1 if rate is None else rate)):
        if not 0 < value < float("inf"):
            raise InvalidRequest(f"{name} is {value}: want more than 0")
    noise = np.random.default_rng(0).integers(0, 256, IMAGE.shape, np.uint8)
    sent: Sequence[ImageLike] = images or [noise]
    client.embed(sent[0])
    lock, numbers = threading.Lock(), count()
    done = Bench(0.0, [], Counter())
    started = time.perf_counter()

    def ask() -> None:
        while True:
            with lock:
                number = next(numbers)
            due = time.perf_counter() - started if rate is None else number / rate
            if due >= seconds:
                return
            if (wait := due - (time.perf_counter() - started)) > 0:
                time.sleep(wait)
            error = None
            try:
                client.embed(sent[number % len(sent)])
            except RequestError as failed:
                error = failed
            took = time.perf_counter() - started - due
            with lock:
                if error is None:
                    done.latencies.append(took)
                else:
                    done.errors[type(error).__name__] += 1
                    done.last = error

    callers = [threading.Thread(target=ask, daemon=True) for _ in range(CALLERS if rate else concurrency)]
    for caller in callers:
        caller.start()
    for caller in callers:
        caller.join()
    done.seconds = time.perf_counter() - started
    return done
