"""Somebody who asks the probe all the time, so that one can say how soon it told of a fault."""

from __future__ import annotations

import threading
import time
from types import TracebackType
from typing import Self

from deploy.serve.probe import TIMEOUT, NotReady, check

#: Seconds between two questions.
PAUSE = 0.05


class Witness:
    """A thread that probes a server while the ``with`` block runs."""

    def __init__(self, url: str) -> None:
        """Name the server, ``host:port``."""
        self._url = url
        #: Of ``time.monotonic``: when each question had the answer that the server is not ready.
        self._denied: list[float] = []
        self._done = threading.Event()
        self._thread = threading.Thread(target=self._watch)

    def told_after(self, moment: float) -> float | None:
        """Seconds from ``moment`` (``time.monotonic``) until it first said "not ready"; None if it never did."""
        return next((denied - moment for denied in self._denied if denied > moment), None)

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._done.set()
        self._thread.join()

    def _watch(self) -> None:
        while not self._done.wait(PAUSE):
            try:
                check(self._url, TIMEOUT)
            except NotReady:
                self._denied.append(time.monotonic())
