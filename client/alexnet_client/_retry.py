"""Which failures are worth another attempt, when it is made, and how many there may be in all."""

from __future__ import annotations

import math
import random
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass
from numbers import Real

from alexnet_client._errors import InvalidRequest

#: Each pause is as many times the one before.
FACTOR = 2.0
#: Repetitions that a budget lets through a second whatever else is sent, and how many it saves up at least: those of
#: so many requests.
A_SECOND, SAVED = 10.0, 100.0


@dataclass(frozen=True)
class Retry:
    """How often a request is sent, at most, within its one deadline; only failures that may pass are repeated.

    A pause before the n-th repetition is a random part of ``min(max_backoff, backoff * 2**(n - 1))`` ("full jitter":
    M. Brooker, *Exponential Backoff and Jitter*, 2015), so that callers who failed together do not come back together.

    Raises:
        InvalidRequest: a number cannot be meant.
    """

    #: Times that a request is sent in all; 1 is never again.
    attempts: int = 4
    #: Seconds.
    backoff: float = 0.1
    max_backoff: float = 2.0
    #: Repetitions a request, on average over all of a client's; beside it 10 a second are free, and 100 are saved up.
    budget: float = 0.2
    #: Seconds without an answer after which a second copy is sent, without waiting for the first; None is never. It
    #: costs as many more requests as are slower than this: give it the p95 of your latency, and it costs 5 %.
    hedge: float | None = None

    def __post_init__(self) -> None:
        if isinstance(self.attempts, bool) or not isinstance(self.attempts, int) or self.attempts < 1:
            raise InvalidRequest(f"attempts is {self.attempts!r}: want a whole number, at least 1")
        for name in ("backoff", "max_backoff", "budget"):
            _check(name, getattr(self, name), "want a number, at least 0 and finite")
        if self.hedge is not None:
            _check("hedge", self.hedge, "want seconds, at least 0 and finite, or None")

    def pause(self, attempts: int, chance: Callable[[], float] = random.random) -> float:
        """Seconds before another attempt.

        Args:
            attempts: made so far.
            chance: a number from [0, 1).
        """
        longest = min(self.max_backoff, self.backoff * FACTOR ** min(attempts - 1, 60))
        return longest * chance()


class Budget:
    """What keeps repetitions from making an overload worse: they may be a share of the requests. Any thread's."""

    def __init__(self, share: float, clock: Callable[[], float] = time.monotonic) -> None:
        self._share, self._clock = share, clock
        self._most = SAVED * max(1.0, share)
        self._tokens, self._at = self._most, clock()
        self._lock = threading.Lock()

    def deposit(self) -> None:
        """A request is sent for the first time."""
        with self._lock:
            self._tokens = min(self._most, self._tokens + self._share)

    def withdraw(self) -> bool:
        """Whether one may be sent again."""
        with self._lock:
            now = self._clock()
            self._tokens = min(self._most, self._tokens + A_SECOND * (now - self._at))
            self._at = now
            if self._tokens < 1:
                return False
            self._tokens -= 1
            return True


def _check(name: str, value: object, wanted: str) -> None:
    if isinstance(value, bool) or not isinstance(value, Real) or not math.isfinite(value) or value < 0:
        raise InvalidRequest(f"{name} is {value!r}: {wanted}")
