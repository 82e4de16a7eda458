"""The backend ``onnxruntime`` with a network that sleeps: what Triton and the adapter cost shows, and nothing else.

The bench puts it in the real one's place; its "graph" is a text, the seconds that a batch and each of its images take.
"""

import time

import numpy as np

from alexnet_client.checksum import checksum
from alexnet_client.contract import CHECKSUM, EMBEDDING, EMBEDDING_LENGTH, PROBABILITIES
from deploy.backends.onnxruntime import model


class Sleeping:
    """A network that takes a fixed time a batch and an image, and no core."""

    def __init__(self, path):
        self._batch, self._image = map(float, path.read_text().split())

    def run(self, pixels, outputs):
        """Zeros, for a single class; and the checksum, as nobody would believe the answer without."""
        time.sleep(self._batch + self._image * len(pixels))
        answers = {
            PROBABILITIES.name: np.zeros((len(pixels), 1), np.float32),
            EMBEDDING.name: np.zeros((len(pixels), EMBEDDING_LENGTH), np.float32),
            CHECKSUM.name: checksum(pixels),
        }
        return {name: answers[name] for name in outputs}


class TritonPythonModel(model.TritonPythonModel):
    """The real adapter round it."""

    def load(self, path):
        """The network that sleeps."""
        return Sleeping(path)
