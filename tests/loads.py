"""Load from callers who never repeat a call."""

from __future__ import annotations

import threading
import time
from collections import Counter
from collections.abc import Sequence
from typing import Any

import grpc
from tritonclient.grpc.service_pb2 import ModelInferResponse

from deploy.loadtest.arrivals import arrivals, steady
from deploy.serve.envoy import INFER
from tests.waiting import PATIENCE, wait_until

#: gRPC repeats nothing, and shares no connection with others.
ONCE = (("grpc.enable_retries", 0), ("grpc.use_local_subchannel_pool", 1))
#: Requests a second, at random times.
RATE = 20


class Load:
    """Requests at random times, each sent once, whatever becomes of the others; every answer is compared."""

    def __init__(self, channel: grpc.Channel, messages: Sequence[bytes]) -> None:
        """Ask once for each right answer; nothing else is sent yet."""
        #: Name of the status, with what was said if it is not OK -> calls.
        self.outcomes: Counter[str] = Counter()
        #: Seconds, from when it was due.
        self.longest = 0.0
        self._infer = channel.unary_unary(INFER)
        self._messages = messages
        self._right = [_outputs(self._infer(message, timeout=PATIENCE)) for message in messages]
        self._stop = threading.Event()
        self._ended = threading.Semaphore(0)
        self._thread = threading.Thread(target=self._send)

    def __enter__(self) -> Load:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._stop.set()
        self._thread.join()

    def more(self, many: int) -> None:
        """Return when so many more calls have ended."""
        before = self.outcomes.total()
        wait_until(lambda: self.outcomes.total() >= before + many, f"{many} more answers")

    def _send(self) -> None:
        start, sent = time.monotonic(), 0
        for at in arrivals(steady(RATE, 10 * PATIENCE)):
            if self._stop.wait(max(0.0, start + at - time.monotonic())):
                break
            number = sent % len(self._messages)
            call = self._infer.future(self._messages[number], timeout=PATIENCE)
            call.add_done_callback(lambda call, number=number, due=start + at: self._note(call, number, due))
            sent += 1
        for _ in range(sent):
            self._ended.acquire()

    def _note(self, call: Any, number: int, due: float) -> None:
        outcome = str(call.code().name)
        if call.code() is not grpc.StatusCode.OK:
            outcome = f"{outcome}: {call.details()}"
        elif _outputs(call.result()) != self._right[number]:
            outcome = "another picture's answer"
        self.outcomes[outcome] += 1
        self.longest = max(self.longest, time.monotonic() - due)
        self._ended.release()


def _outputs(answer: bytes) -> dict[str, bytes]:
    """By name: they come in any order."""
    response = ModelInferResponse.FromString(answer)
    return {output.name: data for output, data in zip(response.outputs, response.raw_output_contents, strict=True)}
