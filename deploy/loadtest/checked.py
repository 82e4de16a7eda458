"""Load of which every answer is checked, to the bit, against the published graphs run in this process."""

from __future__ import annotations

import itertools
import threading
import time
from contextlib import suppress
from pathlib import Path
from types import TracebackType
from typing import Self

import numpy as np
from numpy.typing import NDArray

from alexnet_client import AlexNetClient, AlexNetError, InvalidImage, Retry
from alexnet_client.contract import EMBEDDING, ENSEMBLE, MODELS, precision_model
from alexnet_client.preprocess import decode
from deploy.loadtest.photograph import WIDTH, photograph
from export.artefacts import artefact
from export.runtimes.onnx import OnnxRuntime

MODEL = precision_model("int8")
#: Threads: half of them send files to the ensemble, half pixels to the network.
THREADS = 4
#: For an answer; one that takes longer counts as failed.
TIMEOUT = 3.0


class CheckedLoad:
    """Threads that ask one after the other, each for an image of its own, while the ``with`` block runs."""

    def __init__(self, url: str, repository: Path, bad_every: int = 0) -> None:
        """Find out what is right.

        Args:
            repository: published, with INT8 from an ONNX graph behind the ensemble.
            bad_every: every so many questions an image that has to be refused; 0 for never.
        """
        self._url = url
        self._bad_every = bad_every
        (version,) = (repository / MODEL).glob("[0-9]*")
        runtime = OnnxRuntime(version / artefact.MODEL_FILE)
        #: Of each thread: model, image, the embedding that is right.
        self._questions: list[tuple[str, bytes | NDArray[np.uint8], NDArray[np.float32]]] = []
        for number in range(THREADS):
            file, model = photograph(WIDTH - 50 * number), (ENSEMBLE, MODEL)[number % 2]
            pixels = decode(file)
            right = runtime.run(pixels[None], [EMBEDDING.name])[EMBEDDING.name]
            self._questions.append((model, file if MODELS[model].takes_files else pixels, right))
        self._threads: list[threading.Thread] = []
        self._done = threading.Event()
        self._lock = threading.Lock()
        self.reset()

    def reset(self) -> None:
        """Count from here."""
        with self._lock:
            now = self.started = time.monotonic()
            self.answered = self.failed = self.wrong = 0
            #: What failures said, one of each.
            self.said: dict[str, int] = {}
            #: When each thread asked the last question that was answered, and when it had that answer.
            self._asked, self._had = [now] * THREADS, [now] * THREADS
            self._longest = 0.0
            #: Of ``time.monotonic``.
            self.last_failure = 0.0

    @property
    def longest(self) -> float:
        """Seconds that a thread was longest without an answer."""
        with self._lock:
            now = time.monotonic()
            return max(self._longest, *(now - had for had in self._had))

    def all_answered_since(self, moment: float) -> bool:
        """Whether every thread has the answer to a question that it asked after ``moment`` (``time.monotonic``)."""
        with self._lock:
            return min(self._asked) > moment

    def __enter__(self) -> Self:
        self._threads = [threading.Thread(target=self._ask, args=(number,)) for number in range(THREADS)]
        for thread in self._threads:
            thread.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._done.set()
        for thread in self._threads:
            thread.join()

    def _ask(self, number: int) -> None:
        model, image, right = self._questions[number]
        with AlexNetClient(self._url, model, TIMEOUT, retry=Retry(attempts=1)) as client:
            for turn in itertools.count(1):
                if self._done.is_set():
                    return
                asked = time.monotonic()
                try:
                    if self._bad_every and turn % self._bad_every == 0 and isinstance(image, bytes):
                        self._ask_for_bad(client, image)
                        continue
                    self._count(number, asked, client.embed(image), right)
                except AlexNetError as error:
                    with self._lock:
                        self.failed += 1
                        self.last_failure = time.monotonic()
                        self.said[str(error)] = self.said.get(str(error), 0) + 1
                    self._done.wait(0.02)

    def _ask_for_bad(self, client: AlexNetClient, image: bytes) -> None:
        with suppress(InvalidImage):
            client.embed(image[: len(image) // 2])
            with self._lock:
                self.wrong += 1  # half a file has no answer

    def _count(self, number: int, asked: float, got: NDArray[np.float32], right: NDArray[np.float32]) -> None:
        with self._lock:
            now = time.monotonic()
            self.answered += 1
            self.wrong += not np.array_equal(got, right)
            self._longest = max(self._longest, now - self._had[number])
            self._asked[number], self._had[number] = asked, now
