"""A local tritonserver: started on a checked repository, ready when it answers, watched, stopped without a trace."""

from __future__ import annotations

import logging
import os
import secrets
import shutil
import signal
import subprocess
import threading
import time
from pathlib import Path
from types import TracebackType
from typing import Self

from tritonclient.utils import InferenceServerException

from alexnet_client.errors import AlexNetError
from deploy.serve import processes
from deploy.serve.installation import ROOT, find
from deploy.serve.ports import HOST, Ports, free_ports
from deploy.serve.probe import ADMIN_HEADER, Probe
from deploy.serve.repository import Checked, check
from deploy.serve.selection import Selected, link, select

log = logging.getLogger("deploy.serve")

WORK = Path("build/triton")
START_TIMEOUT = 60.0
#: A stub that died makes SIGTERM hang: what has not ended by then is killed.
STOP_TIMEOUT = 6.0
WATCH_INTERVAL = 0.25
RELOAD_TIMEOUT = 4.0
#: Seconds before a server that died is started again, one after the other; then it is given up.
BACKOFF = (0.0, 1.0, 2.0, 5.0, 10.0)
#: A server that lived this long was sound: the backoff starts anew.
SOUND = 60.0


class ServerError(AlexNetError):
    """A server that does not start, or died for good."""


class LocalServer:
    """A tritonserver on loopback; use it in a ``with`` statement.

    A backend process that dies is noticed at once and its model loaded again; a server that dies is started again. A
    newly published release goes live without a failed request.
    """

    def __init__(
        self, repository: Path, ports: Ports | None = None, *, use_free_ports: bool = False, work: Path = WORK
    ):
        """Name what to serve; nothing is started yet.

        Args:
            repository: as ``export publish`` wrote it.
            ports: where to listen, Triton's own by default.
            use_free_ports: listen on any free ports instead.
            work: folder of the log and of the assembled backends.
        """
        self.repository = repository
        self.ports = free_ports() if use_free_ports else ports or Ports()
        self.log_file = work / "tritonserver.log"
        self._work = work
        self._prefix = f"{processes.PREFIX}{os.getpid()}-{secrets.token_hex(4)}-"
        self._key = secrets.token_urlsafe()
        self._process: subprocess.Popen[bytes] | None = None
        self._stopping = threading.Event()
        self._watcher: threading.Thread | None = None
        self._checked = Checked(repository, ())
        self._selected = Selected(repository)
        #: What tritonserver reads: the release, or the view of it that fits this machine.
        self._served = work / f"{self._prefix}repository"
        self._stubs: dict[int, str] = {}
        #: Set once the server is given up.
        self.failed: str | None = None

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
            self._launch()
        except BaseException:
            self._end()
            self._served.unlink(missing_ok=True)
            raise
        self._watcher = threading.Thread(target=self._watch, name="triton-watch", daemon=True)
        self._watcher.start()
        return self

    def stop(self) -> None:
        """Stop the server; afterwards no process, port or shared memory of it is left. Again is harmless."""
        self._stopping.set()
        if self._watcher is not None:
            self._watcher.join()
        self._end()
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

    def _command(self) -> list[str]:
        addresses = {"grpc": self.ports.grpc, "http": self.ports.http, "metrics": self.ports.metrics}
        command = [str(self._installation.binary), f"--model-repository={self._served.absolute()}"]
        command += [f"--backend-directory={self._installation.backends.absolute()}"]
        for name, port in addresses.items():
            command += [f"--{name}-address={HOST}", f"--{name}-port={port}"]
        command += ["--model-control-mode=explicit", "--exit-on-error=false", "--strict-readiness=false"]
        command += [f"--load-model={model}" for model in self.models]
        command += [f"--backend-config=python,shm-region-prefix-name={self._prefix}"]
        command += [f"--exit-timeout-secs={STOP_TIMEOUT - 1:.0f}", "--metrics-interval-ms=1000"]
        # Whoever may load models and map memory owns the server: only this process, by its key.
        command += [f"--grpc-restricted-protocol=model-repository,shared-memory:admin-key={self._key}"]
        command += [f"--http-restricted-api=model-repository,shared-memory:{ADMIN_HEADER}={self._key}"]
        # Should this process be killed, the kernel stops the server.
        setpriv = shutil.which("setpriv")
        return [setpriv, "--pdeathsig", "TERM", *command] if setpriv else command

    def _launch(self) -> None:
        self.log_file.parent.mkdir(parents=True, exist_ok=True)
        with self.log_file.open("ab") as output:
            self._process = subprocess.Popen(
                self._command(),
                stdout=output,
                stderr=subprocess.STDOUT,
                stdin=subprocess.DEVNULL,
                env=self._installation.environment,
                cwd=ROOT,  # the backends' interpreters look for our modules here: they ignore PYTHONPATH
                start_new_session=True,  # Ctrl-C is for this process, which then stops the server in order
            )
        self._probe = Probe(self.grpc_url, self._key)
        deadline = time.monotonic() + START_TIMEOUT
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
            self._until(deadline, lambda model=model: self._probe.answers(model), f"{model} does not answer")
        self._stubs = processes.stubs(self._process.pid)

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

    def _until(self, deadline: float, condition, what: str) -> None:  # type: ignore[no-untyped-def]
        while not condition():
            if self._process is None or self._process.poll() is not None:
                raise ServerError(f"tritonserver ended while starting: see {self.log_file}")
            if time.monotonic() > deadline:
                raise ServerError(f"{what} after {START_TIMEOUT:.0f} s: see {self.log_file}")
            if self._stopping.wait(0.05):
                raise ServerError("stopped while starting")

    def _end(self) -> None:
        if self._process is None:
            return
        if self._process.poll() is None:
            self._process.send_signal(signal.SIGTERM)
            try:
                self._process.wait(STOP_TIMEOUT)
            except subprocess.TimeoutExpired:
                processes.kill(self._process.pid)
                self._process.wait()
        processes.kill_orphans(self._prefix)
        processes.clear_shared_memory(self._prefix)
        self._probe.close()
        self._process = None

    def _watch(self) -> None:
        attempt, started = 0, time.monotonic()
        while not self._stopping.wait(WATCH_INTERVAL):
            try:
                if self._process is None or self._process.poll() is not None:
                    if time.monotonic() - started > SOUND:
                        attempt = 0
                    if attempt == len(BACKOFF):
                        self.failed = f"tritonserver died {attempt} times in a row: see {self.log_file}"
                        log.error(self.failed)
                        return
                    log.warning("tritonserver died, starting it again")
                    self._end()
                    if self._stopping.wait(BACKOFF[attempt]):
                        return
                    attempt += 1
                    started = time.monotonic()
                    self._launch()
                    log.warning("tritonserver answers again")
                elif dead := set(self._stubs) - set(processes.stubs(self._process.pid)):
                    self._revive(sorted({self._stubs[stub] for stub in dead}))
                elif self.repository.resolve() != self._checked.release:
                    self._reload()
            except (ServerError, InferenceServerException, OSError) as error:
                if not self._stopping.is_set():
                    log.exception("the server could not be brought back: %s", error)  # noqa: TRY401
                    self._end()

    def _revive(self, models: list[str]) -> None:
        """Load models again whose backend process died; should that not work, start the server again."""
        started = time.monotonic()
        log.warning("the backend process of %s died, loading it again", ", ".join(models))
        try:
            for model in models:
                self._probe.unload(model, RELOAD_TIMEOUT)
            for model in self.models:  # those that depend on it too
                self._probe.load(model, RELOAD_TIMEOUT)
            for model in self.models:
                self._probe.infer(model)
        except InferenceServerException as error:
            log.warning("that failed (%s), starting the server again", error)
            if self._process is not None:
                processes.kill(self._process.pid)
            self._end()
            self._launch()
        if self._process is not None:
            self._stubs = processes.stubs(self._process.pid)
        log.warning("%s answers again after %.1f s", ", ".join(models), time.monotonic() - started)

    def _reload(self) -> None:
        """Put a newly published release in the present one's place, or keep the present one where that fails."""
        self._choose()
        for model, reason in self.refused.items():
            log.error("%s is not loaded, its present version goes on: %s", model, reason)
        for model in self.models:
            try:
                self._probe.load(model, START_TIMEOUT)
            except InferenceServerException as error:
                log.error("%s could not be loaded, its present version goes on: %s", model, error)  # noqa: TRY400
        if self._process is not None:
            self._stubs = processes.stubs(self._process.pid)
        log.warning("release %s of %s is live", self._checked.release.name, self.repository)
