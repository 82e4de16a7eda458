"""The Predictor: pixels in, probabilities and embedding out, whatever runtime answers.

PyTorch, ONNX Runtime, TensorRT and the served model are all called this way, so one evaluation and one comparison
judge them all. It stands at the head of the data flow so that every later stage can use it.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray


class Outputs(NamedTuple):
    """What one forward pass answers for N images and K classes."""

    probabilities: NDArray[np.float32]  # [N, K], rows sum to one
    embedding: NDArray[np.float32]  # [N, 4096], the penultimate layer after its ReLU


#: ``uint8[N, 224, 224, 3]``, RGB -> :class:`Outputs`.
Predictor = Callable[[NDArray[np.uint8]], Outputs]
