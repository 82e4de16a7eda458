"""Triton Python model: image files -> ``uint8[N, 224, 224, 3]``, each bad image answered alone.

Ordinary images are decoded by threads on all cores. Large ones, as their containers tell, would have everybody else
wait: one instance at a time may decode them, in a process with bounded means, and only when nobody shares its batch.
Otherwise they are refused for now: whoever asks for most is the first to wait.
"""

import os
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import triton_python_backend_utils as pb_utils

from alexnet_client import refusal, work
from alexnet_client.checksum import file_checksum
from alexnet_client.contract import (
    DECODE_SECONDS,
    DECODED_TOTAL,
    ENCODED,
    FILE_CHECKSUM,
    IMAGE,
    LARGE_IMAGE_SECONDS,
    LARGE_REQUEST_SECONDS,
    MAX_REQUEST_SECONDS,
    OVERLOADED,
    REJECTED_TOTAL,
)
from alexnet_client.undecodable import REASONS, UndecodableImage
from deploy.backends.decoded import timed_decode
from deploy.backends.decoder import Decoder
from deploy.backends.metrics import Family
from deploy.backends.silence import Silence
from deploy.backends.turns import Turns


class TritonPythonModel:
    """One instance; its threads use all cores."""

    def initialize(self, args):
        """Start the threads and register the metrics (labels: model, and reason for refusals)."""
        self._silence = Silence()
        self._pool = ThreadPoolExecutor(os.cpu_count())
        self._decoder = Decoder()
        model = args["model_name"]
        self._turns = Turns(model)
        # A metric dies with its family, so both are kept.
        self._families = [Family(metric) for metric in (DECODE_SECONDS, DECODED_TOTAL, REJECTED_TOTAL)]
        seconds, decoded, rejected = self._families
        self._seconds, self._decoded = seconds.labelled(model=model), decoded.labelled(model=model)
        self._rejected = {reason: rejected.labelled(model=model, reason=reason) for reason in REASONS}

    def execute(self, requests):
        """Decode the images of all requests together; answer each request on its own."""
        with self._silence.unless_in_time():
            return self._answers(requests)

    def _answers(self, requests):
        files = [
            [bytes(file) for file in pb_utils.get_input_tensor_by_name(request, ENCODED.name).as_numpy().ravel()]
            for request in requests
        ]
        seconds = [[_seconds(file) for file in request] for request in files]
        large = [max(each) > LARGE_IMAGE_SECONDS or sum(each) > LARGE_REQUEST_SECONDS for each in seconds]
        pending = [
            None if is_large else [self._pool.submit(timed_decode, file) for file in request]
            for request, is_large in zip(files, large, strict=True)
        ]
        return [
            self._large(files[number], sum(seconds[number]), alone=len(requests) == 1)
            if futures is None
            else self._answer(files[number], [future.result() for future in futures])
            for number, futures in enumerate(pending)
        ]

    def _large(self, files, seconds, *, alone):
        if seconds > MAX_REQUEST_SECONDS:
            return _error(
                pb_utils.TritonError.INVALID_ARG,
                f"got {len(files)} images that take {seconds:.3g} s to decode, one request may take "
                f"{MAX_REQUEST_SECONDS:g}: send fewer at once, or smaller ones",
            )
        with self._turns.mine_if_free() as mine:
            if mine and alone:
                return self._answer(files, [self._decoder.decode(file) for file in files])
        return _error(
            pb_utils.TritonError.UNAVAILABLE,
            f"{OVERLOADED}: large images ({seconds:.2g} s to decode) are for when nobody waits, send smaller ones",
        )

    def _answer(self, files, results):
        bad = {}
        for place, result in enumerate(results):
            self._seconds.observe(result.seconds)
            if result.error is None:
                self._decoded.increment(1)
            else:
                self._rejected[result.error.reason].increment(1)
                bad[place] = str(result.error)
        if bad:
            return _error(pb_utils.TritonError.INVALID_ARG, refusal.message(bad))
        stacked = np.stack([result.pixels for result in results])
        sums = file_checksum(files, stacked)
        return pb_utils.InferenceResponse(
            [pb_utils.Tensor(IMAGE.name, stacked), pb_utils.Tensor(FILE_CHECKSUM.name, sums)]
        )

    def finalize(self):
        """Stop the threads and the process."""
        self._pool.shutdown()
        self._decoder.end()


def _seconds(file):
    """Its work; what is refused for its work makes none."""
    try:
        return work.seconds(file)
    except UndecodableImage:
        return 0.0


def _error(code, message):
    return pb_utils.InferenceResponse(error=pb_utils.TritonError(message, code))
