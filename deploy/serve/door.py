"""The door: an Envoy on the public ports, before the tritonserver of the day.

Clients talk to the door and never to Triton, which listens on sockets in a folder that only this user may enter. So a
release or a revival is another tritonserver behind the same port: the door turns new requests to it in one step and
lets the old one answer those that it has. What a client has no business with (model control, shared memory, logging,
tracing) has no route.
"""

from __future__ import annotations

import json
import signal
import subprocess
import time
from collections.abc import Callable
from pathlib import Path

from alexnet_client.files import atomic_path
from deploy.serve import haste
from deploy.serve.admission import Admission, Look
from deploy.serve.envoy import MENDING, bootstrap, endpoints
from deploy.serve.installation import envoy
from deploy.serve.ports import Ports
from deploy.serve.process import ServerError, spawn
from deploy.serve.sockets import Sockets
from deploy.serve.tls import ServerTLS
from deploy.serve.unix_http import ask

#: How often it was told where to lead.
TURNS = "cluster.grpc.update_success"
#: Requests that were answered from behind it, that met their limit, whose callers gave up, and that are under way.
COUNTERS = tuple(f"cluster.grpc.upstream_rq_{what}" for what in ("2xx", "pending_overflow", "tx_reset", "active"))
LIMIT = "circuit_breakers.grpc.default.max_requests"


class Door:
    """A running Envoy."""

    def __init__(
        self, ports: Ports, folder: Path, log_file: Path, *, http_too: bool = False, tls: ServerTLS | None = None
    ) -> None:
        """Name where it stands; nothing is started yet.

        Args:
            folder: of its own, which only this user may enter.
        """
        self._ports = ports
        self._folder = folder
        self._log_file = log_file
        self._http_too = http_too
        self._tls = tls
        self._version = 0
        self._leads_to: Sockets | None = None
        self._admission = Admission()
        self._mending = False
        #: Of Envoy's runtime, what it was told.
        self._haste = haste.refused(0.0)
        self._process: subprocess.Popen[bytes] | None = None

    @property
    def alive(self) -> bool:
        """Whether it runs."""
        return self._process is not None and self._process.poll() is None

    @property
    def reachable(self) -> bool:
        """Whether it can be told where to lead."""
        return (self._folder / "admin").exists()

    @property
    def pid(self) -> int:
        """Its process id; 0 while it was never opened."""
        return self._process.pid if self._process else 0

    def open(self, timeout: float) -> None:
        """Start it, leading to where it led last.

        Raises:
            deploy.serve.installation.InstallationError: there is no Envoy.
            ServerError: it does not start within ``timeout`` seconds; names the log.
        """
        self.close()
        self._folder.mkdir(mode=0o700, exist_ok=True)
        config = self._folder / "envoy.json"
        config.write_text(json.dumps(bootstrap(self._ports, self._folder, http_too=self._http_too, tls=self._tls)))
        if self._tls:
            self._tls.write(self._folder)
        self._write()
        self._admission = Admission()
        self._mending, self._haste = False, haste.refused(0.0)
        command = [str(envoy()), "--config-path", str(config), "--concurrency", "1", "--disable-hot-restart"]
        self._process = spawn([*command, "--log-level", "warning"], self._log_file, signal.SIGKILL)
        deadline = time.monotonic() + timeout
        while not self._ask("/ready").startswith("LIVE"):
            if not self.alive or time.monotonic() > deadline:
                raise ServerError(f"the door (Envoy) does not open: see {self._log_file}")
            time.sleep(0.02)

    def lead_to(self, sockets: Sockets | None, timeout: float) -> None:
        """Turn new requests to another tritonserver; returns when they go there.

        Raises:
            ServerError: Envoy did not take it up within ``timeout`` seconds.
        """
        self._leads_to = sockets
        if not self.alive:
            return
        deadline = time.monotonic() + timeout
        before = self._wait(TURNS, lambda turns: turns >= 0, deadline)
        self._write()
        if before is None or self._wait(TURNS, lambda turns: turns > before, deadline) is None:
            raise ServerError(f"the door (Envoy) does not turn: see {self._log_file}")

    def adjust(self, fastest: float) -> None:
        """Let in what is answered in good time, as it shows; to be called several times a second.

        Args:
            fastest: seconds of the fastest answer behind it; 0 while there was none.
        """
        wanted = haste.refused(fastest)
        changed = "&".join(f"{name}={value}" for name, value in wanted.items() if self._haste[name] != value)
        if changed and self._ask(f"/runtime_modify?{changed}", "POST"):
            self._haste = wanted
        now = time.monotonic()
        if not self._admission.due(now):
            return
        counts = self._counts("|".join(COUNTERS))
        if counts and self._admission.follow(Look(now, *(counts.get(counter, 0) for counter in COUNTERS))):
            self._ask(f"/runtime_modify?{LIMIT}={self._admission.limit}", "POST")

    def tell(self, *, mending: bool) -> None:
        """Have those who ask whether it is ready told so, or not. Again is harmless."""
        if mending != self._mending and self._ask(f"/runtime_modify?{MENDING}={100 * mending}", "POST"):
            self._mending = mending

    def close(self) -> None:
        """End it. Again is harmless."""
        if self._process is not None:
            self._process.kill()  # what it has in flight, the server behind it had no time for
            self._process.wait()
            self._process = None

    def _write(self) -> None:
        self._version += 1
        for name in ("http", "metrics", "grpc"):  # the last is the one that is waited for
            path = getattr(self._leads_to, name) if self._leads_to else None
            with atomic_path(self._folder / f"{name}.json") as partial:
                partial.write_text(json.dumps(endpoints(name, path, self._version)))

    def _wait(self, counter: str, until: Callable[[int], bool], deadline: float) -> int | None:
        """Its count once that holds; None if it did not in time. Not to be told is not to be told none."""
        while self.alive and time.monotonic() < deadline:
            count = self._counts(counter).get(counter)
            if count is not None and until(count):
                return count
            time.sleep(0.02)
        return None

    def _counts(self, counters: str) -> dict[str, int]:
        """Counters whose names match; none while it does not answer."""
        lines = self._ask(f"/stats?filter=^({counters})$").splitlines()
        return {name: int(count) for name, _, count in (line.partition(": ") for line in lines)}

    def _ask(self, path: str, method: str = "GET") -> str:
        """Envoy's own administration, over its socket; empty while it does not answer."""
        try:
            return ask(self._folder / "admin", path, method)
        except OSError:
            return ""
