"""How many requests may be under way at once: those that are answered in good time.

A bound in requests is seconds for one network and minutes for the next. So it follows what the server shows. When the
bound was met, it becomes the requests that are answered in ``SECONDS`` (Little's law). When callers gave up, and by the
same law had to wait for longer than that, it becomes half of what it was: a server that works on what nobody waits for
answers nobody. Where they need not have waited, their haste is their own, and nobody else is refused for it.
"""

from __future__ import annotations

from dataclasses import dataclass

#: Of work that may be under way, and so what a request waits at most.
SECONDS = 0.5
#: Three batches of 32: one computes, one is ready, one gathers. And what no server here answers at once.
LEAST, MOST = 96, 1 << 16
#: What is left to callers in a hurry.
FEW = 8
#: Callers that gave up, of those that were answered, that are too many.
GIVEN_UP = 0.1
#: Seconds between two looks.
INTERVAL = 1.0


@dataclass(frozen=True, slots=True)
class Look:
    """The door's counters at one time."""

    #: Seconds of a clock.
    time: float
    #: Requests so far that were answered, that met the bound, and whose callers gave up.
    answered: int
    refused: int
    given_up: int
    #: Those that are under way.
    active: int


class Admission:
    """The bound, from one look at the door's counters to the next."""

    def __init__(self) -> None:
        self.limit = LEAST
        self._last: Look | None = None

    def due(self, now: float) -> bool:
        """Whether it is time to look."""
        return self._last is None or now - self._last.time >= INTERVAL

    def follow(self, look: Look) -> bool:
        """Set :attr:`limit`; whether it is another now."""
        last, self._last = self._last, look
        before = self.limit
        if last is not None:
            answered = look.answered - last.answered
            in_time = answered / (look.time - last.time) * SECONDS
            if look.given_up - last.given_up > GIVEN_UP * answered and look.active > in_time:
                self.limit = max(self.limit // 2, FEW)
            elif self.limit < LEAST:  # for callers in a hurry, who may still be there
                self.limit = min(self.limit + max(1, self.limit // 8), LEAST)
            elif look.refused > last.refused:
                self.limit = min(max(round(in_time), LEAST), 2 * self.limit, MOST)
        return self.limit != before
