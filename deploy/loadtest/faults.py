"""Faults, one after the other, under load of which every answer is checked. ``python -m deploy.loadtest faults``.

It starts a server of its own on free ports, on a copy of the published repository. What is wanted: no wrong answer at
all, and nobody without an answer for longer than the table says.
"""

from __future__ import annotations

import os
import shutil
import signal
import sys
import tempfile
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from tqdm import tqdm

from alexnet_client import AlexNetError
from alexnet_client.contract import DECODER, ENCODED, ENSEMBLE, IMAGE
from deploy.loadtest.arrivals import arrivals, steady
from deploy.loadtest.checked import MODEL, CheckedLoad
from deploy.loadtest.hostile import hurrying, large_image, request, sending, trickling
from deploy.loadtest.open_loop import offer
from deploy.loadtest.releases import copy_twice, make_another
from deploy.loadtest.witness import Witness
from deploy.loadtest.workload import workload
from deploy.serve import processes
from deploy.serve.admission import LEAST
from deploy.serve.probe import TIMEOUT
from deploy.serve.server import LocalServer
from export.publish import switch

#: Seconds in which nothing may change before a fault counts as over, and for which one may last at all.
CALM, PATIENCE = 1.0, 90.0
#: Seconds after which the probe has told of a fault that lasts: its own, and some for two cores that are full.
TOLD = TIMEOUT + 0.5


class FaultError(AlexNetError):
    """A promise that was not kept."""


@dataclass(slots=True)
class Scene:
    """A server under load, and two releases to switch between."""

    server: LocalServer
    repository: Path
    load: CheckedLoad
    witness: Witness

    def backend(self, model: str) -> int:
        """Process id of one of a model's backend processes."""
        assert self.server.pid is not None
        return next(pid for pid, its in processes.stubs(self.server.pid).items() if its == model)

    def triton(self) -> int:
        """tritonserver's process id."""
        assert self.server.pid is not None
        return self.server.pid

    def door(self) -> int:
        """Envoy's process id."""
        assert self.server._door is not None
        return self.server._door.pid

    def other_release(self) -> Path:
        """The one that is not served."""
        return next(path for path in self.repository.resolve().parent.iterdir() if path != self.repository.resolve())

    def publish(self) -> None:
        """Have the other release served; returns when it is."""
        release = self.other_release()
        switch(self.repository, release)
        wait_for(lambda: self.server._room is not None and self.server._room.release == release, f"{release} live")

    def publish_damaged(self) -> None:
        """A release with a byte changed, which is not to be served, and back."""
        before = self.repository.resolve()
        damaged = Path(tempfile.mkdtemp(dir=before.parent.parent)) / "1"
        shutil.copytree(before, damaged)
        (graph,) = damaged.glob(f"{MODEL}/*/model.onnx")
        data = bytearray(graph.read_bytes())
        data[len(data) // 2] ^= 1
        graph.write_bytes(data)
        switch(self.repository, damaged)
        wait_for(lambda: (self.server._declined or ("",))[0] == damaged, "the refusal")
        switch(self.repository, before)
        shutil.rmtree(damaged.parent)

    def lose_the_link(self) -> None:
        """For a second."""
        before = self.repository.resolve()
        self.repository.unlink()
        time.sleep(1)
        switch(self.repository, before)

    def lose_the_folder(self) -> None:
        """Sockets and all, as by whoever tidies up."""
        shutil.rmtree(self.server._folder)

    def stop_and_go(self, process: int, seconds: float) -> None:
        """SIGSTOP, and SIGCONT after so long."""
        os.kill(process, signal.SIGSTOP)
        time.sleep(seconds)
        try:
            os.kill(process, signal.SIGCONT)
        except ProcessLookupError:
            return


@dataclass(frozen=True, slots=True)
class Fault:
    """Something that happens, and what is promised then."""

    name: str
    #: Seconds that nobody is without an answer for longer than.
    promise: float
    do: Callable[[Scene], object]
    #: No request fails.
    unnoticed: bool = False
    #: The server is full, which is not dead: the probe has nothing to tell.
    full: bool = False


def publish_twice(scene: Scene) -> None:
    """To the other release and back before it can be live; the last wins."""
    first, second = scene.repository.resolve(), scene.other_release()
    switch(scene.repository, second)
    time.sleep(0.5)
    switch(scene.repository, first)


def send_bad_batches(scene: Scene) -> None:
    """From one caller, one after the other."""
    raw = bytes(np.prod(IMAGE.shape))
    messages = [request(MODEL, IMAGE, (count, *IMAGE.shape), raw) for count in (0, 2**62)]
    sending(scene.server.grpc_url, messages, seconds=5)


def send_large_images(scene: Scene) -> None:
    """From one caller, one after the other."""
    file = large_image()
    message = request(ENSEMBLE, ENCODED, (1, 1), len(file).to_bytes(4, "little") + file)
    sending(scene.server.grpc_url, [message], seconds=5)


def send_ten_times_too_many(scene: Scene) -> None:
    """In an open loop, ten times what two cores answer."""
    load = workload(MODEL, [np.zeros(IMAGE.shape, np.uint8)])
    offer(scene.server.grpc_url, load, arrivals(steady(3000, 5)), deadline=1)


def begin_and_not_end(scene: Scene) -> None:
    """Twice as many requests as may be under way, of one caller, whose ends do not come."""
    message = request(MODEL, IMAGE, (1, *IMAGE.shape), bytes(np.prod(IMAGE.shape)))
    with trickling(scene.server.grpc_url, message, streams=2 * LEAST):
        time.sleep(5)


def hurry(scene: Scene) -> None:
    """One caller with deadlines of a millisecond, 300 a second."""
    message = request(MODEL, IMAGE, (1, *IMAGE.shape), bytes(np.prod(IMAGE.shape)))
    with hurrying(scene.server.grpc_url, message, deadline=0.001, rate=300):
        time.sleep(5)


FAULTS = (
    Fault("SIGKILL of a network's backend process", 10, lambda s: os.kill(s.backend(MODEL), signal.SIGKILL)),
    Fault("SIGKILL of a decoder's backend process", 10, lambda s: os.kill(s.backend(DECODER), signal.SIGKILL)),
    Fault("SIGKILL of tritonserver", 10, lambda s: os.kill(s.triton(), signal.SIGKILL)),
    Fault("SIGKILL of the door", 5, lambda s: os.kill(s.door(), signal.SIGKILL)),
    Fault("SIGSTOP of a network's process, SIGCONT after 8 s", 10, lambda s: s.stop_and_go(s.backend(MODEL), 8)),
    Fault("SIGSTOP of a decoder's process, SIGCONT after 8 s", 10, lambda s: s.stop_and_go(s.backend(DECODER), 8)),
    Fault("SIGSTOP of tritonserver, SIGCONT after 8 s", 10, lambda s: s.stop_and_go(s.triton(), 8)),
    Fault("SIGSTOP of the door, SIGCONT after 8 s", 10, lambda s: s.stop_and_go(s.door(), 8)),
    Fault("SIGSTOP for half a second", 3, lambda s: s.stop_and_go(s.triton(), 0.5), unnoticed=True),
    Fault("a release", 3, lambda s: s.publish(), unnoticed=True),
    Fault("two releases within half a second", 3, publish_twice, unnoticed=True),
    Fault("a release with a byte changed", 3, lambda s: s.publish_damaged(), unnoticed=True),
    Fault("the repository's link missing for a second", 3, lambda s: s.lose_the_link(), unnoticed=True),
    Fault("the server's folder removed", 10, lambda s: s.lose_the_folder()),
    Fault("requests with a batch of 0 and of 2^62, 5 s", 3, send_bad_batches, unnoticed=True),
    Fault("192 requests that do not end, 5 s", 3, begin_and_not_end, unnoticed=True),
    Fault("deadlines of 1 ms, 300 a second, 5 s", 3, hurry, unnoticed=True),
    Fault("images of 49 megapixels, 5 s", 3, send_large_images, unnoticed=True),
    Fault("3000 requests a second, 5 s", 3, send_ten_times_too_many, full=True),
)


@dataclass(slots=True)
class Outcome:
    """What was seen, the worst of all rounds."""

    fault: Fault
    longest: float = 0.0
    failed: int = 0
    answered: int = 0
    wrong: int = 0
    #: Seconds until the probe said "not ready"; 0 if all was over before.
    told: float = 0.0
    #: Rounds of which it never told, though somebody was without an answer for longer than it may take.
    untold: int = 0

    @property
    def kept(self) -> bool:
        """Whether the promise was kept."""
        in_time = self.longest <= self.fault.promise and self.told <= TOLD
        told = not (self.told if self.fault.unnoticed else self.untold)
        return not self.wrong and in_time and told and not (self.fault.unnoticed and self.failed)

    def as_row(self) -> str:
        """A row of a Markdown table."""
        promise = f"{self.fault.promise:g} s" + (", no request fails" if self.fault.unnoticed else "")
        told = "never" if self.untold else f"{self.told:.1f} s" if self.told else ""
        seen = f"{self.longest:.1f} s | {told} | {self.failed} of {self.failed + self.answered} | {self.wrong}"
        return f"| {self.fault.name} | {promise} | {seen} |"


def wait_for(condition: Callable[[], bool], what: str) -> None:
    """Wait until it holds.

    Raises:
        FaultError: it does not come within :data:`PATIENCE` seconds.
    """
    deadline = time.monotonic() + PATIENCE
    while not condition():
        if time.monotonic() > deadline:
            raise FaultError(f"waited {PATIENCE:g} s in vain for {what}")
        time.sleep(0.02)


def try_fault(scene: Scene, outcome: Outcome) -> None:
    """Let it happen, wait until it is over, and write down what was seen."""
    wait_for(lambda: sound(scene, time.monotonic() - CALM), "a sound server before")
    load = scene.load
    load.reset()
    begin = time.monotonic()
    outcome.fault.do(scene)
    over = time.monotonic() + CALM
    wait_for(lambda: time.monotonic() > over and sound(scene, time.monotonic() - CALM), f"an end of: {outcome.fault}")
    outcome.longest = max(outcome.longest, load.longest)
    outcome.failed += load.failed
    outcome.answered += load.answered
    outcome.wrong += load.wrong
    told = scene.witness.told_after(begin)
    outcome.told = max(outcome.told, told or 0.0)
    outcome.untold += told is None and load.longest > TOLD and not outcome.fault.full


def sound(scene: Scene, since: float) -> bool:
    """Whether nothing is wrong, and for a while nobody has been refused."""
    server = scene.server
    busy = server._watcher is None or server._watcher.busy or any(each.is_alive() for each in server._retiring)
    settled = not busy and server.trouble() is None and not server.outdated
    return settled and scene.load.last_failure < since and scene.load.all_answered_since(since)


def campaign(repository: Path, rounds: int, faults: Sequence[Fault] = FAULTS) -> list[Outcome]:
    """Every fault, so many times.

    Raises:
        alexnet_client.AlexNetError: there is no such repository, or a server does not come back.
    """
    outcomes = [Outcome(fault) for fault in faults]
    with tempfile.TemporaryDirectory() as name, tqdm(total=rounds * len(faults), unit="fault", file=sys.stderr) as bar:
        copy, both = copy_twice(repository, Path(name))
        make_another(both[1])
        with (
            LocalServer(copy, use_free_ports=True, work=Path(name) / "work") as server,
            CheckedLoad(server.grpc_url, both) as load,
            Witness(server.grpc_url) as witness,
        ):
            for _ in range(rounds):
                for outcome in outcomes:
                    bar.set_description(outcome.fault.name)
                    try_fault(Scene(server, copy, load, witness), outcome)
                    bar.update()
    return outcomes


def as_table(outcomes: Sequence[Outcome]) -> str:
    """In Markdown, with every promise that was not kept."""
    head = "| fault | nobody without an answer for more than | seen | probe says so after | failed | wrong |"
    head += f"\n|{' --- |' * 6}"
    broken = [f"NOT KEPT: {outcome.fault.name}" for outcome in outcomes if not outcome.kept]
    return "\n".join((head, *(outcome.as_row() for outcome in outcomes), *broken))
