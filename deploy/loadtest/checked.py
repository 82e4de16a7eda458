"""Load of which every answer is checked against the published graphs run in this process: embeddings to the bit."""

from __future__ import annotations

import itertools
import threading
import time
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import Self

import numpy as np
from numpy.typing import NDArray

from alexnet_client import AlexNetClient, AlexNetError, InvalidImage, Prediction, Retry
from alexnet_client.contract import EMBEDDING, ENSEMBLE, MODELS, PROBABILITIES, precision_model
from alexnet_client.preprocess import decode
from deploy.loadtest.photograph import WIDTH, photograph
from export.artefacts import artefact
from export.runtimes.onnx import OnnxRuntime

MODEL = precision_model("int8")
#: Threads: half of them send files to the ensemble, half pixels to the network.
THREADS = 4
#: Of each thread.
IMAGES = 16
#: Of probabilities, which travel as text with six digits.
CLOSE = 2e-6
#: For an answer; one that takes longer counts as failed.
TIMEOUT = 3.0


@dataclass(frozen=True, slots=True)
class Right:
    """What one release answers for one image."""

    #: By label.
    probabilities: dict[str, float]
    embedding: NDArray[np.float32]

    def is_met_by(self, predictions: Sequence[Prediction], embedding: NDArray[np.float32]) -> bool:
        """Whether this is that answer, with each label where it belongs."""
        got = {each.label: each.probability for each in predictions}
        return (
            got.keys() == self.probabilities.keys()
            and all(abs(got[label] - self.probabilities[label]) <= CLOSE for label in got)
            and np.array_equal(embedding, self.embedding)
        )


def _answers(release: Path, pixels: Sequence[NDArray[np.uint8]]) -> list[Right]:
    """Of INT8's graph and labels, one image at a time."""
    (version,) = (release / MODEL).glob("[0-9]*")
    runtime = OnnxRuntime(version / artefact.MODEL_FILE)
    labels = (release / MODEL / artefact.LABELS_FILE).read_text().splitlines()
    outputs = [runtime.run(each[None], [PROBABILITIES.name, EMBEDDING.name]) for each in pixels]
    return [
        Right(dict(zip(labels, map(float, each[PROBABILITIES.name][0]), strict=True)), each[EMBEDDING.name])
        for each in outputs
    ]


class CheckedLoad:
    """Threads that ask one after the other, each for images of its own, while the ``with`` block runs."""

    def __init__(self, url: str, releases: Sequence[Path], bad_every: int = 0) -> None:
        """Find out what is right.

        Args:
            releases: that may be live, each with INT8 from an ONNX graph behind the ensemble. An answer is one of
                theirs, as a whole.
            bad_every: every so many questions an image that has to be refused; 0 for never.
        """
        self._url = url
        self._bad_every = bad_every
        files = [photograph(WIDTH - 2 * number) for number in range(THREADS * IMAGES)]
        pixels = [decode(file) for file in files]
        #: Of each image, by release.
        self._right = list(zip(*(_answers(release, pixels) for release in releases), strict=True))
        self._files, self._pixels = files, pixels
        self._classes = len(self._right[0][0].probabilities)
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
        model = (ENSEMBLE, MODEL)[number % 2]
        images: Sequence[bytes | NDArray[np.uint8]] = self._files if MODELS[model].takes_files else self._pixels
        with AlexNetClient(self._url, model, TIMEOUT, retry=Retry(attempts=1)) as client:
            for turn in itertools.count(1):
                if self._done.is_set():
                    return
                place = number * IMAGES + turn % IMAGES
                image, asked = images[place], time.monotonic()
                try:
                    if self._bad_every and turn % self._bad_every == 0 and isinstance(image, bytes):
                        self._ask_for_bad(client, image)
                        continue
                    (predictions,), embedding = client.classify_and_embed([image], self._classes)
                    right = any(each.is_met_by(predictions, embedding) for each in self._right[place])
                    self._count(number, asked, right)
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

    def _count(self, number: int, asked: float, right: bool) -> None:
        with self._lock:
            now = time.monotonic()
            self.answered += 1
            self.wrong += not right
            self._longest = max(self._longest, now - self._had[number])
            self._asked[number], self._had[number] = asked, now
