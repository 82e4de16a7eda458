"""Whether a model still answers: asked again and again, without waiting for it.

A model that works is let work, however long its queue is: only one that does not answer while its processes use no
processor is stuck.
"""

from __future__ import annotations

import time
from collections.abc import Callable

from deploy.serve.times import Times

#: Seconds of the processor in which a process has done something.
WORK = 0.02


class Pulse:
    """The questions to one model; :meth:`stuck` is to be called several times a second."""

    def __init__(
        self,
        ask: Callable[[Callable[[bool | None], None]], None],
        work: Callable[[], float],
        times: Times,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        """Ask nothing yet.

        Args:
            ask: sends a question, and calls back when there is an answer of any kind: with whether it is to that, or
                None of a refusal.
            work: seconds of the processor that the model's processes have used so far.
        """
        self._ask = ask
        self._work = work
        self._times = times
        self._clock = clock
        self._waiting = False
        #: Whether an answer was to another's question.
        self.mistaken = False
        #: Seconds of the fastest answer.
        self.fastest = float("inf")
        self._since = clock()
        self._worked = 0.0

    def stuck(self) -> bool:
        """Whether there was neither an answer nor work for :attr:`deploy.serve.times.Times.answer` seconds."""
        waited = self._clock() - self._since
        if not self._waiting:
            if waited >= self._times.pulse:
                self._waiting, self._since, self._worked = True, self._clock(), self._work()
                self._ask(self._heard)
            return False
        if waited < self._times.answer:
            return False
        worked = self._work()
        if worked - self._worked < WORK:
            return True
        self._since, self._worked = self._clock(), worked
        return False

    def _heard(self, right: bool | None) -> None:
        now = self._clock()
        if right:
            self.fastest = min(self.fastest, now - self._since)
        self._waiting, self._since = False, now
        self.mistaken |= right is False
