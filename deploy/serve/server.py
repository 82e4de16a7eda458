"""A local server: a door on loopback, behind it a tritonserver on a checked release; watched, stopped without a trace.

Whatever changes, a release or a revival, changes as a whole: another tritonserver is started, asked, and put in the
present one's place.
"""

from __future__ import annotations

import itertools
import logging
import shutil
import threading
import time
from contextlib import suppress
from pathlib import Path
from types import TracebackType
from typing import Self

from alexnet_client.errors import AlexNetError
from deploy.serve import processes
from deploy.serve.door import Door
from deploy.serve.envoy import HEALTH_SOCKET
from deploy.serve.guardian import Guardian
from deploy.serve.health import HealthService
from deploy.serve.installation import find
from deploy.serve.log import bound_log
from deploy.serve.ports import Ports, free_ports
from deploy.serve.process import DiedStarting, ServerError
from deploy.serve.repository import check
from deploy.serve.room import Room, Trouble
from deploy.serve.times import Times
from deploy.serve.tls import ServerTLS
from deploy.serve.watch import Watcher

log = logging.getLogger("deploy.serve")

WORK = Path("build/triton")
#: Attempts at a first tritonserver; later ones are as many as it takes.
STARTS = 3


class LocalServer:
    """A published repository, served on this machine; use it in a ``with`` statement.

    A backend process or a server that dies is noticed at once and replaced, and a newly published release goes live
    without a failed request. A release is taken as a whole or not at all.
    """

    def __init__(
        self,
        repository: Path,
        ports: Ports | None = None,
        *,
        use_free_ports: bool = False,
        http: bool = False,
        tls: ServerTLS | None = None,
        traces: str | None = None,
        work: Path = WORK,
        times: Times | None = None,
    ) -> None:
        """Name what to serve; nothing is started yet.

        Args:
            repository: as ``export publish`` wrote it.
            ports: where to listen, Triton's own by default.
            use_free_ports: listen on any free ports instead.
            http: open KServe's HTTP as well. A few malformed bytes end Triton 24.10: not for strangers.
            tls: the certificate of gRPC's port; None is plain text.
            traces: where spans go, OTLP over HTTP, ``http://host:4318/v1/traces``; None keeps none.
            work: folder of the log and of the assembled backends.
            times: how long what may take.
        """
        self.repository = repository
        self.ports = free_ports() if use_free_ports else ports or Ports()
        self.log_file = work / "tritonserver.log"
        self._http = http
        self.tls = tls
        self._traces = traces
        self._work = work
        self._times = times or Times()
        self._stopping = threading.Event()
        self._watcher: Watcher | None = None
        self._prefix = processes.own_prefix()
        #: Sockets and what is served; on a short path, which only this user may enter.
        self._folder = processes.FOLDERS / f"{self._prefix}server"
        self._guardian: Guardian | None = None
        self._numbers = itertools.count(1)
        self._room: Room | None = None
        self._door: Door | None = None
        self._health: HealthService | None = None
        #: What was served of the present release at any time.
        self._served: frozenset[str] = frozenset()
        #: A release that was not taken, and until when.
        self._declined: tuple[Path, float] | None = None
        #: Rooms that start, and those on their way out with the threads that see to it.
        self._others: set[Room] = set()
        self._retiring: list[threading.Thread] = []

    @property
    def grpc_url(self) -> str:
        """``host:port``."""
        return f"{self.ports.host}:{self.ports.grpc}"

    @property
    def http_url(self) -> str:
        """``host:port``; nobody listens there without ``http``."""
        return f"{self.ports.host}:{self.ports.http}"

    @property
    def metrics_url(self) -> str:
        """``http://host:port/metrics``."""
        return f"http://{self.ports.host}:{self.ports.metrics}/metrics"

    @property
    def models(self) -> tuple[str, ...]:
        """The models that are served."""
        return self._room.models if self._room else ()

    @property
    def refused(self) -> dict[str, str]:
        """Model -> why it is not served."""
        return self._room.refused if self._room else {}

    @property
    def fallbacks(self) -> dict[str, str]:
        """Model -> why its ONNX graph serves in an engine's place."""
        return self._room.fallbacks if self._room else {}

    @property
    def pid(self) -> int | None:
        """Process id of the tritonserver that answers; None while there is none."""
        return self._room.pid if self._room else None

    def start(self) -> Self:
        """Start, and return when every model has answered a real inference.

        Raises:
            deploy.serve.ports.PortTaken: a port belongs to another process.
            deploy.serve.tls.TLSError, alexnet_client.errors.FileError: the certificate or key cannot be used.
            deploy.serve.installation.InstallationError: something is not installed.
            deploy.serve.repository.RepositoryError: there is no repository.
            ServerError: no model can be served, or the server did not get ready; names the log.
        """
        processes.clear_leftovers()
        try:
            self.ports.check(http=self._http)
            if self.tls:
                self.tls.check()
            self._guardian = Guardian(self._prefix, self.log_file)
            self._make_folder()
            room = self._first_room()
            self._room, self._served = room, frozenset(room.models)
            self._door = Door(self.ports, self._folder / "door", self.log_file, http_too=self._http, tls=self.tls)
            self._door.lead_to(room.sockets, self._times.door)
            self._door.open(self._times.door)
            self.adjust()
        except BaseException:
            self._end()
            raise
        self._watcher = Watcher(self, self._times, self._stopping)
        self._watcher.start()
        return self

    def _first_room(self) -> Room:
        """Started; Triton 24.10 dies of a lock now and then while it starts on processors that are full."""
        for left in reversed(range(STARTS)):
            room = self._new_room(self.repository)
            try:
                room.start()
            except DiedStarting as error:
                if not left:
                    raise
                log.warning("%s; starting another", error)
            else:
                break
        return room

    def stop(self) -> None:
        """Stop the server; afterwards no process, port or shared memory of it is left. Again is harmless."""
        self._stopping.set()
        if self._watcher is not None:
            self._watcher.join()
        self._end()

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

    def trouble(self) -> Trouble | None:
        """What is wrong; None while all is well."""
        room = self._room
        inside = room.trouble() if room else Trouble("there is no tritonserver")
        if self._door is not None:
            if not self._door.alive:
                return Trouble("the door died", inside.culprits if inside else ())
            if not self._door.reachable:
                return Trouble("the door's folder was cleared away", (self._door.pid,))
            if processes.stopped(self._door.pid):
                return Trouble("the door is stopped", (self._door.pid,))
        return inside

    @property
    def outdated(self) -> bool:
        """Whether another release is published than the one that is served, or all of it is not; or was declined."""
        published = self.repository.resolve()
        if self._room is None or (published == self._room.release and self._whole):
            return False
        return self._declined is None or published != self._declined[0] or time.monotonic() > self._declined[1]

    def adjust(self) -> None:
        """Let in what is answered in good time, and keep the log within its bound."""
        if self._door is not None:
            self._door.tell(mending=False)
            self._door.adjust(self._room.fastest if self._room else 0.0)
        if self._health is not None:
            self._health.tell(self.models)
        bound_log(self.log_file)

    def silence(self, trouble: Trouble) -> None:
        """Kill who must not speak again; from now on the server is not ready."""
        for process in trouble.culprits:
            processes.kill(process)
        if self._health is not None:
            self._health.tell(())
        if self._door is not None:
            self._door.tell(mending=True)

    def silence_others(self) -> None:
        """The same in tritonservers that start, or answer what they were asked before another took their place."""
        for room in tuple(self._others):
            for process in room.hung():
                processes.kill(process)

    def replace(self) -> None:
        """Put a sound tritonserver in the present one's place, and a door before it.

        Raises:
            AlexNetError: that did not work.
        """
        self._make_folder()
        if self._door is not None and not self._door.alive:
            self._door.open(self._times.door)
        if self._room is None or self._room.trouble():
            present = self._room.release if self._room else self.repository
            room = self._new_room(present if present.is_dir() else self.repository)
            self._start(room)
            self._put_in_place(room)

    def take_up(self) -> None:
        """Put the published release in the present one's place; one that is not whole is declined by name."""
        published = self.repository.resolve()
        try:
            room = self._new_room(published)
            self._start(room, whole=True)
        except Exception as error:
            if not self._stopping.is_set():
                # What failed by bad luck, for want of memory say, may be taken later.
                self._declined = published, time.monotonic() + self._times.decline
                bug = None if isinstance(error, AlexNetError) else error
                log.log(
                    logging.ERROR,
                    "release %s is not taken, the present one goes on: %s",
                    published.name,
                    error,
                    exc_info=bug,
                )
            return
        if self._room is not None and self.repository.resolve() == self._room.release and self._whole:
            room.end()  # back again meanwhile: the last one wins
            return
        self._put_in_place(room)
        log.warning("release %s of %s is live", room.release.name, self.repository)

    # --- Parts.

    @property
    def _whole(self) -> bool:
        """Whether the present release is served as it was: a model that fails at a revival may not the next time."""
        return self._room is not None and self._served <= set(self._room.models)

    def _start(self, room: Room, *, whole: bool = False) -> None:
        self._others.add(room)
        try:
            room.start(whole=whole)
        finally:
            self._others.discard(room)

    def _make_folder(self) -> None:
        """Again if need be, and who listens there: the folder for temporary files is tidied up by others."""
        self._folder.mkdir(mode=0o700, exist_ok=True)
        if self._health is not None and not self._health.socket.exists():
            self._health.close()
            self._health = None
        if self._health is None:
            self._health = HealthService(self._folder / HEALTH_SOCKET)

    def _new_room(self, release: Path) -> Room:
        """A room for a release, which is read and checked anew."""
        number = next(self._numbers)
        return Room(
            check(release),
            find(self._work),
            self._folder / str(number),
            f"{self._prefix}{number}-",
            self._work,
            self._times,
            self._stopping,
            http_too=self._http,
            traces=self._traces,
        )

    def _put_in_place(self, room: Room) -> None:
        """New requests go to another room; the present one answers what it has, and ends."""
        assert self._door is not None
        old, self._room = self._room, room
        same = old is not None and old.release == room.release
        self._served = (self._served if same else frozenset()).union(room.models)
        self._declined = None
        self._door.lead_to(room.sockets, self._times.door)
        if old is not None:
            self._others.add(old)
            self._retiring = [thread for thread in self._retiring if thread.is_alive()]
            self._retiring.append(threading.Thread(target=self._retire, args=(old,), name="triton-retire"))
            self._retiring[-1].start()

    def _retire(self, old: Room) -> None:
        old.drain(self._times.drain)
        old.end()
        self._others.discard(old)

    def _end(self) -> None:
        if self._health is not None:
            self._health.tell(())
        for thread in self._retiring:
            thread.join()
        if self._door is not None and self._room is not None and self._room.trouble() is None:
            with suppress(ServerError):
                self._door.lead_to(None, self._times.door)
                self._room.drain(self._times.stop)
        if self._room is not None:
            self._room.end()
            self._room = None
        if self._door is not None:
            self._door.close()
            self._door = None
        if self._health is not None:
            self._health.close()
            self._health = None
        shutil.rmtree(self._folder, ignore_errors=True)
        if self._guardian is not None:
            self._guardian.dismiss()
            self._guardian = None
