"""Backend processes that are stopped and go on, under load of which every answer is compared: is one ever wrong?

A process that goes on after Triton gave it up answers with other requests' bytes, and status OK. So pauses last from
half a second to eight, of one process or of all of a model, idle or under load, alone or beside another fault.
``python -m deploy.loadtest pauses``; with ``--unwatched`` nobody ends who was stopped.
"""

from __future__ import annotations

import itertools
import os
import random
import signal
import subprocess
import sys
import tempfile
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import psutil
from tqdm import tqdm

from alexnet_client import AlexNetClient, AlexNetError, Retry
from alexnet_client.contract import DECODER, ENSEMBLE, precision_model
from alexnet_client.preprocess import decode
from deploy.loadtest.loadtest_error import LoadTestError
from deploy.loadtest.photograph import WIDTH, photograph
from deploy.loadtest.releases import copy_twice
from deploy.serve import processes
from deploy.serve.server import LocalServer
from deploy.serve.times import Times
from export.artefacts import artefact
from export.publish import switch
from export.runtimes.onnx import OnnxRuntime

NETWORK, OTHER = precision_model("int8"), precision_model("fp32")
IMAGES = 64
#: Seconds of the shortest pause, of the longest, and between two.
SHORTEST, LONGEST, STEP = 0.5, 8.0, 0.1
#: Callers under load, and when next to nothing goes on.
LOADED, IDLE = 12, 3
#: Seconds that a caller waits for an answer; that a sound server is waited for.
TIMEOUT, PATIENCE = 3.0, 120.0
#: Seconds from another fault to the pause: a replacement is under way by then.
AFTER = 0.7
#: Processes that want a processor each.
BUSY = 4
#: Embeddings differ by so much between batches of other sizes, and by more between images.
CLOSE = 1e-3


@dataclass
class Tally:
    """What became of every request."""

    pauses: int = 0
    answered: int = 0
    #: Believed, and another image's.
    wrong: int = 0
    #: Error's name -> requests; ``AnswerMismatch`` is an answer that was not believed.
    failed: Counter[str] = field(default_factory=Counter)

    def as_text(self) -> str:
        """In one line."""
        failed = ", ".join(f"{count} {name}" for name, count in self.failed.most_common()) or "none"
        return f"{self.pauses} pauses, {self.answered} answers compared, {self.wrong} wrong; failed: {failed}"


class Load:
    """Callers that ask for image after image while the ``with`` block runs."""

    def __init__(self, url: str, repository: Path) -> None:
        """Find out what is right.

        Args:
            repository: published, with INT8 behind the ensemble and FP32.
        """
        self._url = url
        self.tally = Tally()
        #: So many of them ask at present.
        self.callers = IDLE
        #: Model -> when it was asked what it answered last, of ``time.monotonic``.
        self.asked: dict[str, float] = {}
        files = [photograph(WIDTH - 2 * number) for number in range(IMAGES)]
        pixels = [decode(file) for file in files]
        self._images = {NETWORK: pixels, OTHER: pixels, ENSEMBLE: files}
        self._right = {}
        for model in (NETWORK, OTHER):
            (version,) = (repository / model).glob("[0-9]*")
            runtime = OnnxRuntime(version / artefact.MODEL_FILE)
            self._right[model] = [runtime(each[None]).embedding for each in pixels]
        self._right[ENSEMBLE] = self._right[NETWORK]
        self._lock, self._done = threading.Lock(), threading.Event()
        self._threads = [threading.Thread(target=self._ask, args=(number,)) for number in range(LOADED)]

    @contextmanager
    def running(self) -> Iterator[Tally]:
        """Ask until the block ends."""
        for thread in self._threads:
            thread.start()
        try:
            yield self.tally
        finally:
            self._done.set()
            for thread in self._threads:
                thread.join()

    def all_answered_since(self, moment: float) -> bool:
        """Whether every model has answered what it was asked after ``moment``."""
        with self._lock:
            return len(self.asked) == len(self._right) and min(self.asked.values()) > moment

    def _ask(self, number: int) -> None:
        model = (NETWORK, ENSEMBLE, OTHER)[number % 3]
        with AlexNetClient(self._url, model, TIMEOUT, retry=Retry(attempts=1)) as client:
            for image in itertools.cycle(range(number, number + IMAGES)):
                if self._done.wait(0 if number < self.callers else 0.1):
                    return
                if number < self.callers:
                    self._once(client, model, image % IMAGES)

    def _once(self, client: AlexNetClient, model: str, image: int) -> None:
        asked, said = time.monotonic(), ""
        try:
            got = client.embed(self._images[model][image])  # type: ignore[index]
        except AlexNetError as error:
            said = type(error).__name__
        with self._lock:
            if said:
                self.tally.failed[said] += 1
            else:
                right = self._right[model][image]
                self.tally.answered += 1
                self.tally.wrong += not np.abs(got - right).max() < CLOSE * np.abs(right).max()
                self.asked[model] = asked
        if said:
            self._done.wait(0.05)


class Scene:
    """A server under load, and what is done to it."""

    def __init__(self, server: LocalServer, repository: Path, *, watched: bool) -> None:
        self._server, self._repository, self._watched = server, repository, watched

    def nothing(self) -> None:
        """No other fault."""

    def kill_another(self) -> None:
        """A process of another model, so that all is being replaced."""
        self._kill(next(iter(self._processes(OTHER))))

    def kill_tritonserver(self) -> None:
        """So that another one starts."""
        assert self._server.pid is not None
        self._kill(self._server.pid)

    def switch(self) -> None:
        """To the other release."""
        releases = self._repository.resolve().parent.iterdir()
        switch(self._repository, next(path for path in releases if path != self._repository.resolve()))
        self._go_on(self._server.take_up)

    def pause(self, model: str, *, all_of_it: bool, seconds: float) -> None:
        """Stop processes of a model, in whatever tritonserver, and let them go on."""
        chosen = self._processes(model)
        for process in chosen if all_of_it else chosen[:1]:
            with suppress(ProcessLookupError):
                os.kill(process, signal.SIGSTOP)
        time.sleep(seconds)
        for process in chosen:
            with suppress(ProcessLookupError):
                os.kill(process, signal.SIGCONT)

    def settle(self, load: Load) -> None:
        """Wait until all models answer.

        Raises:
            LoadTestError: they do not.
        """
        since = time.monotonic()
        while not load.all_answered_since(since):
            if time.monotonic() > since + PATIENCE:
                raise LoadTestError(f"no sound server after {PATIENCE:g} s")
            if not self._watched and time.monotonic() > since + TIMEOUT and (trouble := self._server.trouble()):
                self._server.silence(trouble)
                with suppress(AlexNetError):
                    self._server.replace()
            time.sleep(0.05)

    def _kill(self, process: int) -> None:
        with suppress(ProcessLookupError):
            os.kill(process, signal.SIGKILL)
        self._go_on(self._server.replace)

    def _go_on(self, step: Callable[[], None]) -> None:
        """What the supervisor would do, where nobody watches; and until it is under way."""

        def do() -> None:
            with suppress(AlexNetError):
                step()

        if not self._watched:
            time.sleep(0.1)
            threading.Thread(target=do).start()
        time.sleep(AFTER)

    @staticmethod
    def _processes(model: str) -> list[int]:
        servers = [child.pid for child in psutil.Process().children() if child.name() == "tritonserver"]
        return [pid for server in servers for pid, its in processes.stubs(server).items() if its == model]


BESIDE: dict[str, Callable[[Scene], None]] = {
    "alone": Scene.nothing,
    "a killed process": Scene.kill_another,
    "a start": Scene.kill_tritonserver,
    "a release": Scene.switch,
    "four busy loops": Scene.nothing,
}


def pauses(repository: Path, count: int, *, watched: bool, seed: int = 0) -> Tally:
    """Pause so many times, each of another length, beside each of :data:`BESIDE` in turn.

    Args:
        repository: published, with INT8 behind the ensemble and FP32.
        watched: whether the supervisor looks.

    Raises:
        alexnet_client.AlexNetError: there is no such repository, or a server does not come back.
    """
    lengths = np.arange(SHORTEST, LONGEST + STEP / 2, STEP)
    chance = random.Random(seed)
    with tempfile.TemporaryDirectory() as name:
        copy, _ = copy_twice(repository, Path(name))
        times = Times() if watched else Times(watch=1e6)
        with LocalServer(copy, use_free_ports=True, work=Path(name) / "work", times=times) as server:
            load, scene = Load(server.grpc_url, copy), Scene(server, copy, watched=watched)
            with load.running() as tally, tqdm(total=count, desc="pauses", unit="pause", file=sys.stderr) as bar:
                for number in range(count):
                    scene.settle(load)
                    load.callers = chance.choice((IDLE, LOADED))
                    beside = list(BESIDE)[number % len(BESIDE)]
                    with _busy(BUSY if beside == "four busy loops" else 0):
                        BESIDE[beside](scene)
                        model, seconds = (
                            chance.choice((NETWORK, NETWORK, DECODER)),
                            float(lengths[number % len(lengths)]),
                        )
                        scene.pause(model, all_of_it=chance.random() < 0.5, seconds=seconds)
                    tally.pauses += 1
                    bar.set_postfix_str(f"{tally.wrong} wrong, {tally.failed['AnswerMismatch']} not believed")
                    bar.update()
                scene.settle(load)
    return tally


@contextmanager
def _busy(count: int) -> Iterator[None]:
    loops = [subprocess.Popen([sys.executable, "-c", "while True: pass"]) for _ in range(count)]
    try:
        yield
    finally:
        for loop in loops:
            loop.kill()
            loop.wait()
