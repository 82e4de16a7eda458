"""Triton Python model: image files -> ``uint8[N, 224, 224, 3]``, each bad image answered alone."""

import os
import time
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import triton_python_backend_utils as pb_utils

from alexnet_client import refusal
from alexnet_client.contract import DECODE_SECONDS, DECODED_TOTAL, ENCODED, IMAGE, REJECTED_TOTAL
from alexnet_client.preprocess import REASONS, UndecodableImage, decode


class TritonPythonModel:
    """One instance; its threads use all cores."""

    def initialize(self, args):
        """Start the threads and register the metrics (labels: model, and reason for refusals)."""
        self._pool = ThreadPoolExecutor(os.cpu_count())
        model = args["model_name"]
        # A metric dies with its family, so both are kept.
        self._families = [
            pb_utils.MetricFamily(metric.name, metric.text, getattr(pb_utils.MetricFamily, metric.kind.upper()))
            for metric in (DECODE_SECONDS, DECODED_TOTAL, REJECTED_TOTAL)
        ]
        seconds, decoded, rejected = self._families
        self._seconds = seconds.Metric(labels={"model": model}, buckets=list(DECODE_SECONDS.buckets))
        self._decoded = decoded.Metric(labels={"model": model})
        self._rejected = {reason: rejected.Metric(labels={"model": model, "reason": reason}) for reason in REASONS}

    def execute(self, requests):
        """Decode the images of all requests together; answer each request on its own."""
        files = [pb_utils.get_input_tensor_by_name(request, ENCODED.name).as_numpy().ravel() for request in requests]
        pending = [[self._pool.submit(_timed_decode, bytes(file)) for file in request] for request in files]
        return [self._answer([future.result() for future in request]) for request in pending]

    def _answer(self, results):
        bad = {}
        for place, (_, error, seconds) in enumerate(results):
            self._seconds.observe(seconds)
            if error is None:
                self._decoded.increment(1)
            else:
                self._rejected[error.reason].increment(1)
                bad[place] = str(error)
        if bad:
            return pb_utils.InferenceResponse(
                error=pb_utils.TritonError(refusal.message(bad), pb_utils.TritonError.INVALID_ARG)
            )
        stacked = np.stack([pixels for pixels, _, _ in results])
        return pb_utils.InferenceResponse([pb_utils.Tensor(IMAGE.name, stacked)])

    def finalize(self):
        """Stop the threads."""
        self._pool.shutdown()


def _timed_decode(file):
    """Pixels or the reason why not, and the seconds it took."""
    started = time.perf_counter()
    try:
        return decode(file), None, time.perf_counter() - started
    except UndecodableImage as error:
        return None, error, time.perf_counter() - started
