"""PyTorch as a Predictor: the reference that every artefact is held against."""

from __future__ import annotations

import numpy as np
import torch
from numpy.typing import NDArray

from alexnet_client.outputs import Identity, Outputs
from training.model import AlexNet, Served, channels_last


class TorchPredictor:
    """A network under PyTorch, in FP32."""

    def __init__(self, model: AlexNet, sha256: str) -> None:
        """Take a network, whose weights have that SHA-256."""
        self.identity = Identity("pytorch", str(torch.__version__), sha256, options={"precision": "fp32"})
        self._served = channels_last(Served(model).eval())

    def __call__(self, images: NDArray[np.uint8]) -> Outputs:
        """``uint8[N, 224, 224, 3]`` -> :class:`Outputs`."""
        with torch.inference_mode():
            probabilities, embedding = self._served(torch.from_numpy(images))
        return Outputs(probabilities.numpy(), embedding.numpy())
