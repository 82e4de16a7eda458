"""One golden image after the other through the public endpoint, each answer held against what was proved."""

from __future__ import annotations

import itertools
import logging
import threading
import time
from collections.abc import Callable

import numpy as np

from alexnet_client import AlexNetClient, Answer, Outputs, Prediction
from alexnet_client.errors import AlexNetError
from deploy.prober.expected import Expected
from deploy.prober.metrics import OK, WRONG, Metrics
from export.proof.compare import compare
from export.proof.proof import Comparison

log = logging.getLogger("deploy.prober")


class Prober:
    """Asks one model for as long as it is not stopped."""

    def __init__(
        self, client: AlexNetClient, expected: Expected, release: Callable[[str], Expected], metrics: Metrics
    ) -> None:
        """Name them; nothing is sent yet.

        Args:
            expected: what the release that is published must answer.
            release: what a release of that number must answer; asked when another one answers.
        """
        self._client, self._release, self._metrics = client, release, metrics
        self._expect(expected)

    def run(self, interval: float, stopping: threading.Event) -> None:
        """Probe every ``interval`` seconds; a probe that takes longer is followed by the next at once."""
        due = time.monotonic()
        for number in itertools.count():
            if stopping.wait(max(0.0, due - time.monotonic())):
                return
            self.probe(number)
            due = max(due + interval, time.monotonic())

    def probe(self, number: int) -> str:
        """Ask once, with one of the golden images; returns ``ok``, ``wrong``, or the error's name."""
        began = time.monotonic()
        try:
            reasons = self._ask(number)
        except AlexNetError as error:
            outcome, reasons = type(error).__name__, [str(error)]
        else:
            outcome = WRONG if reasons else OK
        self._metrics.probed(outcome, time.monotonic() - began)
        for reason in reasons:
            log.warning("%s: %s", outcome, reason)
        return outcome

    def _ask(self, number: int) -> list[str]:
        """A sentence for all that is wrong with the answer."""
        answer = self._answer(number)
        if self._expected.release not in ("", answer.version):  # that image may not be of its golden batch
            self._expect(self._release(answer.version))
            answer = self._answer(number)
        return self._judge(number % len(self._expected.files), answer)

    def _answer(self, number: int) -> Answer:
        files, classes = self._expected.files, len(self._expected.labels)
        (answer,) = self._client.stream([files[number % len(files)]], top_k=classes, embed=True, in_flight=1)
        if answer.error:
            raise answer.error
        return answer

    def _judge(self, place: int, answer: Answer) -> list[str]:
        expected = self._expected
        assert answer.predictions is not None
        assert answer.embedding is not None
        strange = [each for each in answer.predictions if not self._knows(each)]
        if strange or len(answer.predictions) != len(expected.labels):
            return [f"golden image {place} is answered with other classes than the release's, such as {strange[:1]}"]
        probabilities = np.zeros((1, len(expected.labels)), np.float32)
        for each in answer.predictions:
            probabilities[0, each.index] = each.probability
        wanted = Outputs(*(part[place : place + 1] for part in expected.outputs))
        compared = compare(wanted, Outputs(probabilities, answer.embedding[None]))
        self._last[place] = compared
        self._metrics.compared(
            max(each.max_abs_dp for each in self._last.values()), min(each.cosine for each in self._last.values())
        )
        return [f"golden image {place}: {reason}" for reason in expected.limits.broken_by(compared)]

    def _knows(self, each: Prediction) -> bool:
        labels = self._expected.labels
        return each.index < len(labels) and labels[each.index] == each.label

    def _expect(self, expected: Expected) -> None:
        self._expected = expected
        #: Of each golden image, how its last answer was.
        self._last: dict[int, Comparison] = {}
        self._metrics.expect(expected)
        log.info("%s answers, of release %s", expected.network, expected.release or "any")
