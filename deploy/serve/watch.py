"""Watching a server: what died is replaced, a new release goes live, and whatever goes wrong is tried again.

Two threads, so that nobody waits for the other: one looks several times a second, and kills who must not speak again;
the other puts something in place, which takes seconds, and in them a second fault is met as the first was.
"""

from __future__ import annotations

import logging
import threading
import time
from collections import Counter
from collections.abc import Callable
from typing import Protocol

from alexnet_client.errors import AlexNetError
from deploy.serve.room import Trouble
from deploy.serve.times import Times

log = logging.getLogger("deploy.serve")


class Watched(Protocol):
    """What a watcher asks of a server, and has it do, from two threads. All that it does may raise ``AlexNetError``."""

    def trouble(self) -> Trouble | None:
        """What is wrong; None while all is well."""

    @property
    def outdated(self) -> bool:
        """Whether another release is published than the one that is served."""

    def adjust(self) -> None:
        """Fit what grows to what there is."""

    def silence(self, trouble: Trouble) -> None:
        """Kill who must not speak again."""

    def silence_others(self) -> None:
        """The same in what is about to take the present one's place, or has left it."""

    def replace(self) -> None:
        """Put a sound server in the present one's place."""

    def take_up(self) -> None:
        """Put the published release in the present one's place, or say why not and go on."""


class Watcher:
    """Looks at a server at every interval, and has it mended, for as long as it is not stopped."""

    def __init__(self, server: Watched, times: Times, stopping: threading.Event) -> None:
        """Name what to watch.

        Args:
            stopping: ends the watch once it is set.
        """
        self._server = server
        self._times = times
        self._stopping = stopping
        #: Whether it is about to put something in place.
        self.busy = False
        #: Set when something is wrong.
        self._found = threading.Event()
        #: Reason -> replacements for it since the server was last sound.
        self._attempts: Counter[str] = Counter()
        self._sound_since = time.monotonic()
        self._threads = [
            threading.Thread(target=self._repeat, args=each, name=f"triton-{each[0].__name__.strip('_')}", daemon=True)
            for each in ((self._look, stopping.wait), (self._reconcile, self._found.wait))
        ]

    def start(self) -> None:
        """Watch from now on."""
        for thread in self._threads:
            thread.start()

    def join(self) -> None:
        """Wait for the end of the watch."""
        self._found.set()  # wakes it
        for thread in self._threads:
            thread.join()

    def _repeat(self, step: Callable[[], None], pause: Callable[[float], bool]) -> None:
        while True:
            pause(self._times.watch)
            if self._stopping.is_set():
                return
            try:
                step()
            except AlexNetError as error:
                if not self._stopping.is_set():
                    log.error("that failed: %s", error)  # noqa: TRY400  its user's to mend
            except Exception:
                log.exception("the watch goes on after a bug")

    def _look(self) -> None:
        self._server.silence_others()
        if trouble := self._server.trouble():
            self._server.silence(trouble)
            self._found.set()
        else:
            self._server.adjust()

    def _reconcile(self) -> None:
        self.busy = True
        try:
            if self._found.is_set():
                self._found.clear()
                if trouble := self._server.trouble():  # which another server may have ended meanwhile
                    self._replace(trouble)
            elif self._server.outdated and not self._server.trouble():  # which comes first, once it is found
                self._server.take_up()
        finally:
            self.busy = False

    def _replace(self, trouble: Trouble) -> None:
        if time.monotonic() - self._sound_since > self._times.sound:
            self._attempts.clear()
        wait = self._times.backoff[min(self._attempts[trouble.reason], len(self._times.backoff) - 1)]
        self._attempts[trouble.reason] += 1
        log.warning("%s: a new server in %g s", trouble.reason, wait)
        if self._stopping.wait(wait):
            return
        started = time.monotonic()
        self._server.replace()
        self._sound_since = time.monotonic()
        log.warning("all models answer again after %.1f s", self._sound_since - started)
