"""Watching a server: what died is replaced, a new release goes live, and whatever goes wrong is tried again."""

from __future__ import annotations

import logging
import threading
import time
from collections import Counter
from typing import Protocol

from alexnet_client.errors import AlexNetError
from deploy.serve.room import Trouble
from deploy.serve.times import Times

log = logging.getLogger("deploy.serve")


class Watched(Protocol):
    """What a watcher asks of a server, and what it has it do. All that it does may raise ``AlexNetError``."""

    def trouble(self) -> Trouble | None:
        """What is wrong; None while all is well."""

    @property
    def outdated(self) -> bool:
        """Whether another release is published than the one that is served."""

    def adjust(self) -> None:
        """Fit what grows to what there is."""

    def silence(self, trouble: Trouble) -> None:
        """Kill who must not speak again."""

    def replace(self) -> None:
        """Put a sound server in the present one's place."""

    def take_up(self) -> None:
        """Put the published release in the present one's place, or say why not and go on."""


class Watcher:
    """A thread that looks at a server at every interval, for as long as it is not stopped."""

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
        #: Reason -> replacements for it since the server was last sound.
        self._attempts: Counter[str] = Counter()
        self._sound_since = time.monotonic()
        self._thread = threading.Thread(target=self._watch, name="triton-watch", daemon=True)

    def start(self) -> None:
        """Watch from now on."""
        self._thread.start()

    def join(self) -> None:
        """Wait for the end of the watch."""
        self._thread.join()

    def _watch(self) -> None:
        while not self._stopping.wait(self._times.watch):
            self.busy = True
            try:
                self._look()
            except AlexNetError as error:
                if not self._stopping.is_set():
                    log.error("that failed: %s", error)  # noqa: TRY400  its user's to mend
            except Exception:
                log.exception("the watch goes on after a bug")
            finally:
                self.busy = False

    def _look(self) -> None:
        if trouble := self._server.trouble():
            self._replace(trouble)
            return
        self._server.adjust()
        if self._server.outdated:
            self._server.take_up()

    def _replace(self, trouble: Trouble) -> None:
        self._server.silence(trouble)
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
