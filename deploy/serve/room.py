"""A room: one tritonserver with one release, from its start to an end that leaves no trace.

It listens on sockets in a folder that only this user may enter. Nothing in it ever changes: another release, or the
same one after an accident, gets another room.
"""

from __future__ import annotations

import shutil
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from pathlib import Path

from alexnet_client.contract import MODELS
from deploy.serve import processes
from deploy.serve.flags import Options, command
from deploy.serve.installation import Installation
from deploy.serve.probe import Probe
from deploy.serve.process import DiedStarting, ServerError, TritonProcess
from deploy.serve.pulse import Pulse
from deploy.serve.repository import Checked
from deploy.serve.selection import Selected, select
from deploy.serve.sockets import Sockets
from deploy.serve.times import Times


@dataclass(frozen=True, slots=True)
class Trouble:
    """What is wrong with a server."""

    reason: str
    #: Processes that must not speak again.
    culprits: tuple[int, ...] = ()


class Room:
    """A running tritonserver on one checked release."""

    def __init__(
        self,
        checked: Checked,
        installation: Installation,
        folder: Path,
        prefix: str,
        work: Path,
        times: Times,
        stopping: threading.Event,
        *,
        http_too: bool = False,
        traces: str | None = None,
    ) -> None:
        """Name what to serve; nothing is started yet.

        Args:
            folder: of its own.
            prefix: of its regions in shared memory.
            work: folder of the log and of engines' verdicts.
            stopping: gives up starting once it is set.
            traces: where spans go, OTLP over HTTP.
        """
        self.release = checked.release
        self.sockets = Sockets(folder)
        self.log_file = work / "tritonserver.log"
        self._checked = checked
        self._installation = installation
        self._work = work
        self._times = times
        self._stopping = stopping
        self._http_too = http_too
        self._traces = traces
        self._selected = Selected()
        self._models: tuple[str, ...] = ()
        self._failed: dict[str, str] = {}
        #: Of its regions in shared memory.
        self.prefix = prefix
        self._process: TritonProcess | None = None
        self._stubs: dict[int, str] = {}
        self._probe: Probe | None = None
        self._pulses: dict[str, Pulse] = {}
        #: Held while it is looked at, and while what is looked at is put down.
        self._lock = threading.Lock()
        #: Since when a process is stopped.
        self._stops: dict[int, float] = {}

    @property
    def models(self) -> tuple[str, ...]:
        """The models that are served."""
        return self._models

    @property
    def refused(self) -> dict[str, str]:
        """Model -> why it is not served."""
        return {**self._checked.refused, **self._selected.refused, **self._failed}

    @property
    def fallbacks(self) -> dict[str, str]:
        """Model -> why its ONNX graph serves in an engine's place."""
        return self._selected.fallbacks

    @property
    def alive(self) -> bool:
        """Whether tritonserver runs, be it with a backend that does not."""
        return self._process is not None and self._process.alive

    @property
    def pid(self) -> int | None:
        """tritonserver's process id; None while there is none."""
        return self._process.pid if self._process else None

    def start(self, *, whole: bool = False) -> None:
        """Start tritonserver; returns when every model has answered a real inference.

        Args:
            whole: all models or none; but for those that this machine lacks the device for.

        Raises:
            ServerError: no model can be served, or the server did not get ready; names the log. Nothing is left then.
        """
        try:
            self._start(whole=whole)
        except BaseException:
            self.end()
            raise

    def _start(self, *, whole: bool) -> None:
        self._want(whole=whole)
        self.sockets.folder.mkdir(mode=0o700)
        view = self.sockets.folder / "models"
        self._selected = select(self._checked, view, self._work / "proofs")
        options = Options(
            self._installation.binary,
            view,
            self._installation.backends,
            self.sockets,
            self.prefix,
            stop=self._times.stop,
            http_too=self._http_too,
            traces=self._traces,
        )
        self._process = TritonProcess(command(options), self._installation.environment, self.log_file, self.prefix)
        self._probe = probe = Probe(f"unix:{self.sockets.grpc}")
        deadline = time.monotonic() + self._times.start
        self._until(deadline, probe.live, "the server does not answer")
        self._until(deadline, lambda: self._settled(probe), "models are still loading")
        self._process.loaded()
        self._stubs = self._process.stubs()
        states = probe.states()
        for model in self._selected.models:
            state, reason = states.get(model, ("UNAVAILABLE", "not found"))
            if state != "READY":
                self._failed[model] = f"{model} could not be loaded: {reason or f'see {self.log_file}'}"
        self._want(whole=whole)
        models = tuple(model for model in self._selected.models if model not in self._failed)
        if not models:
            raise ServerError(f"no model can be served: {'; '.join(self.refused.values())}")
        for model in models:
            self._until(deadline, partial(probe.answers, model), f"{model} does not answer")
        processes.close_to_others(self.prefix)
        self._models = models
        self._pulses = {model: self._pulse(model, probe) for model in models if not MODELS[model].needs}

    def _want(self, *, whole: bool) -> None:
        damaged = {**self._checked.refused, **self._failed}
        if whole and damaged:
            raise ServerError("; ".join(damaged.values()))

    def trouble(self) -> Trouble | None:
        """What is wrong with it; None while all is well. To be called several times a second, from any thread."""
        with self._lock:
            return self._trouble()

    def _trouble(self) -> Trouble | None:
        if self._process is None or not self.alive:
            return Trouble("tritonserver died")
        if not self.sockets.grpc.exists():
            return Trouble("tritonserver's sockets were cleared away", (self._process.pid,))
        living = self._process.stubs()
        hung = self._hung({self._process.pid: "tritonserver", **living})
        dead = sorted({model for stub, model in self._stubs.items() if stub not in living})
        if dead:
            return Trouble(f"the backend process of {', '.join(dead)} died", tuple(hung))
        if hung:
            return Trouble(f"{', '.join(sorted(set(hung.values())))} is stopped", tuple(hung))
        for model, pulse in self._pulses.items():
            if pulse.mistaken:
                return Trouble(f"{model} answers other requests", self._processes_of(model))
            if pulse.stuck():
                return Trouble(f"{model} neither answers nor works", self._processes_of(model))
        return None

    def hung(self) -> tuple[int, ...]:
        """Its processes that must not speak again: all that are stopped, once one is so for too long."""
        with self._lock:
            if self._process is None or not self.alive:
                return ()
            return tuple(self._hung({self._process.pid: "tritonserver", **self._process.stubs()}))

    def _hung(self, names: dict[int, str]) -> dict[int, str]:
        now = time.monotonic()
        stopped = [process for process in names if processes.stopped(process)]
        self._stops = {process: self._stops.get(process, now) for process in stopped}
        if any(now - since > self._times.stopped for since in self._stops.values()):
            return {process: names[process] for process in stopped}
        return {}

    def _processes_of(self, model: str) -> tuple[int, ...]:
        """Its backend processes; where the backend is Triton's own, Triton."""
        stubs = tuple(stub for stub, its_model in self._stubs.items() if its_model == model)
        return stubs or ((self._process.pid,) if self._process else ())

    def _pulse(self, model: str, probe: Probe) -> Pulse:
        return Pulse(
            lambda heard: probe.ask(model, heard, self._times.start),
            lambda: processes.work(self._processes_of(model)),
            self._times,
        )

    @property
    def fastest(self) -> float:
        """Seconds of the fastest answer to one image, of any of its models; 0 while there was none."""
        seconds = min((pulse.fastest for pulse in self._pulses.values()), default=float("inf"))
        return seconds if seconds < float("inf") else 0.0

    def drain(self, timeout: float) -> None:
        """Wait until nobody is connected with it any more: it has answered what it was asked. It is not watched now."""
        with self._lock:
            self._hang_up()
        deadline = time.monotonic() + timeout
        while self.alive and self.sockets.callers and time.monotonic() < deadline:
            time.sleep(0.02)

    def end(self) -> None:
        """End tritonserver; nothing of it is left. Again is harmless."""
        with self._lock:
            if self._process is not None:
                self._process.end()
                self._process = None
            self._hang_up()
        shutil.rmtree(self.sockets.folder, ignore_errors=True)

    def _hang_up(self) -> None:
        self._pulses = {}
        if self._probe is not None:
            self._probe.close()
            self._probe = None

    @staticmethod
    def _settled(probe: Probe) -> bool:
        return all(state != "LOADING" for state, _ in probe.states().values())

    def _until(self, deadline: float, condition: Callable[[], bool], what: str) -> None:
        while not condition():
            if self._process is None or not self._process.alive:
                raise DiedStarting(f"tritonserver ended while starting: see {self.log_file}")
            if self._stubs and not self._stubs.keys() <= self._process.stubs().keys():
                raise DiedStarting(f"a backend process ended while tritonserver was starting: see {self.log_file}")
            if time.monotonic() > deadline:
                raise ServerError(f"{what} after {self._times.start:g} s: see {self.log_file}")
            if self._stopping.wait(0.05):
                raise ServerError("stopped while starting")
