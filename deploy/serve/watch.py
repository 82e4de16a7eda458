"""Watching a server: what died is brought back, a new release goes live, what dies again and again is given up."""

from __future__ import annotations

import logging
import threading
import time
from typing import Protocol

from tritonclient.utils import InferenceServerException

from deploy.serve.process import ServerError
from deploy.serve.times import Times

log = logging.getLogger("deploy.serve")


class Watched(Protocol):
    """What a watcher asks of a server, and what it has it do."""

    @property
    def alive(self) -> bool:
        """Whether the server's process runs."""

    @property
    def outdated(self) -> bool:
        """Whether another release is published than the one that is served."""

    def dead_models(self) -> list[str]:
        """Models with a backend process that died."""

    def launch(self) -> None:
        """Start the server; returns when it answers."""

    def end(self) -> None:
        """End the server and clear away what it leaves."""

    def revive(self, models: list[str]) -> None:
        """Bring models back whose backend process died."""

    def reload(self) -> None:
        """Put the published release in the present one's place."""


class Watcher:
    """A thread that looks at a server at every interval."""

    def __init__(self, server: Watched, times: Times, stopping: threading.Event) -> None:
        """Name what to watch.

        Args:
            stopping: ends the watch once it is set.
        """
        self._server = server
        self._times = times
        self._stopping = stopping
        self._restarts = 0
        self._started = time.monotonic()
        self._thread = threading.Thread(target=self._watch, name="triton-watch", daemon=True)
        #: Whether the server died too often and is left dead.
        self.gave_up = False

    def start(self) -> None:
        """Watch from now on."""
        self._thread.start()

    def join(self) -> None:
        """Wait for the end of the watch."""
        self._thread.join()

    def _watch(self) -> None:
        while not self.gave_up and not self._stopping.wait(self._times.watch):
            try:
                self._look()
            except (ServerError, InferenceServerException, OSError) as error:
                if not self._stopping.is_set():
                    log.exception("the server could not be brought back: %s", error)  # noqa: TRY401
                    self._server.end()

    def _look(self) -> None:
        if not self._server.alive:
            self._restart()
        elif dead := self._server.dead_models():
            self._server.revive(dead)
        elif self._server.outdated:
            self._server.reload()

    def _restart(self) -> None:
        if time.monotonic() - self._started > self._times.sound:
            self._restarts = 0
        if self._restarts == len(self._times.backoff):
            self.gave_up = True
            log.error("tritonserver died %d times in a row, it is given up", self._restarts)
            return
        log.warning("tritonserver died, starting it again")
        self._server.end()
        if self._stopping.wait(self._times.backoff[self._restarts]):
            return
        self._restarts += 1
        self._started = time.monotonic()
        self._server.launch()
        log.warning("tritonserver answers again")
