"""A local tritonserver: started on a checked repository, ready when it answers, watched, stopped without a trace."""

from __future__ import annotations

import logging
import secrets
import threading
import time
from collections.abc import Callable
from functools import partial
from pathlib import Path
from types import TracebackType
from typing import Self

from tritonclient.utils import InferenceServerException

from deploy.serve import processes
from deploy.serve.flags import Options, command
from deploy.serve.installation import find
from deploy.serve.ports import HOST, Ports, free_ports
from deploy.serve.probe import Probe
from deploy.serve.process import ServerError, TritonProcess
from deploy.serve.repository import Checked, check
from deploy.serve.selection import Selected, link, select
from deploy.serve.times import Times
from deploy.serve.watch import Watcher

log = logging.getLogger("deploy.serve")

WORK = Path("build/triton")


class LocalServer:
    """A tritonserver on loopback; use it in a ``with`` statement.

    A backend process that dies is noticed at once and its model loaded again; a server that dies is started again. A
    newly published release goes live without a failed request.
    """

    def __init__(
        self,
        repository: Path,
        ports: Ports | None = None,
        *,
        use_free_ports: bool = False,
        work: Path = WORK,
        times: Times | None = None,
    ) -> None:
        """Name what to serve; nothing is started yet.

        Args:
            repository: as ``export publish`` wrote it.
            ports: where to listen, Triton's own by default.
            use_free_ports: listen on any free ports instead.
            work: folder of the log and of the assembled backends.
            times: how long what may take.
        """
        self.repository = repository
        self.ports = free_ports() if use_free_ports else ports or Ports()
        self.log_file = work / "tritonserver.log"
        self._work = work
        self._times = times or Times()
        self._prefix = processes.own_prefix()
        self._key = secrets.token_urlsafe()
        self._process: TritonProcess | None = None
        self._stopping = threading.Event()
        self._watcher: Watcher | None = None
        self._checked = Checked(repository, ())
        self._selected = Selected(repository)
        #: What tritonserver reads: the release, or the view of it that fits this machine.
        self._served = work / f"{self._prefix}repository"
        self._stubs: dict[int, str] = {}

    @property
    def grpc_url(self) -> str:
        """``host:port``."""
        return f"{HOST}:{self.ports.grpc}"

    @property
    def http_url(self) -> str:
        """``host:port``."""
        return f"{HOST}:{self.ports.http}"

    @property
    def metrics_url(self) -> str:
        """``http://host:port/metrics``."""
        return f"http://{HOST}:{self.ports.metrics}/metrics"

    @property
    def models(self) -> tuple[str, ...]:
        """The models that are served."""
        return self._checked.models

    @property
    def refused(self) -> dict[str, str]:
        """Model -> why it is not served."""
        return self._checked.refused

    @property
    def fallbacks(self) -> dict[str, str]:
        """Model -> why its ONNX graph serves in an engine's place."""
        return self._selected.fallbacks

    @property
    def failed(self) -> str | None:
        """Why the server is given up; None while it is not."""
        if self._watcher is None or not self._watcher.gave_up:
            return None
        return f"tritonserver died {len(self._times.backoff)} times in a row: see {self.log_file}"

    def start(self) -> Self:
        """Start, and return when every model has answered a real inference.

        Raises:
            deploy.serve.ports.PortTaken: a port belongs to another process.
            deploy.serve.installation.InstallationError: something is not installed.
            deploy.serve.repository.RepositoryError: there is no repository.
            ServerError: no model can be served, or the server did not get ready; names the log.
        """
        processes.clear_leftovers(self._work)
        try:
            self._choose()
            self.ports.check()
            self._installation = find(self._work)
            self.launch()
        except BaseException:
            self.end()
            self._served.unlink(missing_ok=True)
            raise
        self._watcher = Watcher(self, self._times, self._stopping)
        self._watcher.start()
        return self

    def stop(self) -> None:
        """Stop the server; afterwards no process, port or shared memory of it is left. Again is harmless."""
        self._stopping.set()
        if self._watcher is not None:
            self._watcher.join()
        self.end()
        self._served.unlink(missing_ok=True)

    def cancel(self) -> None:
        """Give up starting, as from a signal handler: :meth:`start` raises soon; a running server goes on unwatched."""
        self._stopping.set()

    def __enter__(self) -> Self:
        return self.start()

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.stop()

    # --- What the watcher sees and does; see :class:`deploy.serve.watch.Watched`.

    @property
    def alive(self) -> bool:
        """Whether tritonserver runs."""
        return self._process is not None and self._process.alive

    @property
    def outdated(self) -> bool:
        """Whether another release is published than the one that is served."""
        return self.repository.resolve() != self._checked.release

    def dead_models(self) -> list[str]:
        """Models with a backend process that died."""
        living = self._process.stubs() if self._process else {}
        return sorted({model for stub, model in self._stubs.items() if stub not in living})

    def launch(self) -> None:
        """Start tritonserver; returns when every model has answered.

        Raises:
            ServerError: no model can be served, or the server did not get ready; names the log.
        """
        options = Options(
            self._installation.binary,
            self._served,
            self._installation.backends,
            self.models,
            self.ports,
            self._prefix,
            self._key,
            drain=self._times.stop - 1,
        )
        self._process = TritonProcess(command(options), self._installation.environment, self.log_file, self._prefix)
        self._probe = Probe(self.grpc_url, self._key)
        deadline = time.monotonic() + self._times.start
        self._until(deadline, self._probe.live, "the server does not answer")
        self._until(deadline, self._settled, "models are still loading")
        states = self._probe.states()
        for model in self.models:
            state, reason = states.get(model, ("UNAVAILABLE", "not found"))
            if state != "READY":
                self._refuse(model, f"{model} could not be loaded: {reason or f'see {self.log_file}'}")
        if not self.models:
            raise ServerError(f"no model can be served: {'; '.join(self.refused.values())}")
        for model in self.models:
            self._until(deadline, partial(self._probe.answers, model), f"{model} does not answer")
        self._note_stubs()

    def end(self) -> None:
        """End tritonserver; nothing of it is left. Again is harmless."""
        if self._process is not None:
            self._process.end(self._times.stop)
            self._probe.close()
            self._process = None

    def revive(self, models: list[str]) -> None:
        """Load models again whose backend process died; should that not work, start the server again."""
        started = time.monotonic()
        log.warning("the backend process of %s died, loading it again", ", ".join(models))
        try:
            for model in models:
                self._probe.unload(model, self._times.reload)
            for model in self.models:  # those that depend on it too
                self._probe.load(model, self._times.reload)
            for model in self.models:
                self._probe.infer(model)
        except InferenceServerException as error:
            log.warning("that failed (%s), starting the server again", error)
            if self._process is not None:
                self._process.kill()
            self.end()
            self.launch()
        self._note_stubs()
        log.warning("%s answers again after %.1f s", ", ".join(models), time.monotonic() - started)

    def reload(self) -> None:
        """Put a newly published release in the present one's place, or keep the present one where that fails."""
        self._choose()
        for model, reason in self.refused.items():
            log.error("%s is not loaded, its present version goes on: %s", model, reason)
        for model in self.models:
            try:
                self._probe.load(model, self._times.start)
            except InferenceServerException as error:
                log.error("%s could not be loaded, its present version goes on: %s", model, error)  # noqa: TRY400
        self._note_stubs()
        log.warning("release %s of %s is live", self._checked.release.name, self.repository)

    # --- Parts.

    def _note_stubs(self) -> None:
        self._stubs = self._process.stubs() if self._process else {}

    def _choose(self) -> None:
        """Read the release anew and decide what is served of it."""
        checked = check(self.repository)
        self._selected = select(checked, self._work)
        link(self._served, self._selected.view)
        self._checked = checked
        for reason in self._selected.fallbacks.values():
            log.warning("%s; its ONNX graph serves", reason)
        for model, reason in self._selected.refused.items():
            self._refuse(model, reason)

    def _settled(self) -> bool:
        return all(state != "LOADING" for state, _ in self._probe.states().values())

    def _refuse(self, model: str, reason: str) -> None:
        models = tuple(each for each in self.models if each != model)
        self._checked = Checked(self._checked.release, models, {**self.refused, model: reason})

    def _until(self, deadline: float, condition: Callable[[], bool], what: str) -> None:
        while not condition():
            if not self.alive:
                raise ServerError(f"tritonserver ended while starting: see {self.log_file}")
            if time.monotonic() > deadline:
                raise ServerError(f"{what} after {self._times.start:g} s: see {self.log_file}")
            if self._stopping.wait(0.05):
                raise ServerError("stopped while starting")
