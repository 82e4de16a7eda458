"""The backend ``onnxruntime`` with a network that sleeps: what Triton and the adapter cost shows, and nothing else.

The bench puts it in the real one's place; its "graph" is a text, the seconds that a batch and each of its images take.
"""

import time

import numpy as np

from alexnet_client.contract import EMBEDDING, EMBEDDING_LENGTH
from deploy.backends.onnxruntime import model


class Sleeping:
    """A network that takes a fixed time a batch and an image, and no core."""

    def __init__(self, path):
        self._batch, self._image = map(float, path.read_text().split())

    def run(self, pixels, outputs):
        """Zeros: ``embedding`` as the contract has it, any other output for a single class."""
        time.sleep(self._batch + self._image * len(pixels))
        widths = {EMBEDDING.name: EMBEDDING_LENGTH}
        return {name: np.zeros((len(pixels), widths.get(name, 1)), np.float32) for name in outputs}


class TritonPythonModel(model.TritonPythonModel):
    """The real adapter round it."""

    def load(self, path):
        """The network that sleeps."""
        return Sleeping(path)
