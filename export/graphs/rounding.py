"""Rounding of weights that keeps their sums, so that what rounding does to a layer's mean output cancels.

Rounded one by one, a kernel's weights err in sum, and a constant area of the input (a black background, say) turns that
sum into a wrong bias. Here as many weights as needed, those nearest to the next step, are rounded the other way, until
each kernel's sum errs by half a step at most. It does without data what bias correction (Nagel et al. 2019, section
4.2) does with data.
"""

from __future__ import annotations

import numpy as np
import onnx
from numpy.typing import NDArray
from onnx import numpy_helper


def keep_sums(weight: NDArray[np.float32], steps: int) -> NDArray[np.float32]:
    """Round a weight to a symmetric grid of ``2 steps + 1`` values an output channel.

    Args:
        weight: ``[O, I, ...]``. Sums are kept over each kernel, that is, over all axes after the second; for a dense
            layer ``[O, I]`` over its inputs.

    Returns:
        the rounded weight, as float32; rounded one by one on the same grid, it stays as it is.
    """
    channels = weight.reshape(len(weight), -1).astype(np.float64)
    scale = np.abs(channels).max(1, keepdims=True) / steps
    scale[scale == 0] = 1
    groups = int(np.prod(weight.shape[:2])) if weight.ndim > 2 else len(weight)
    exact = (channels / scale).reshape(groups, -1)
    rounded = np.rint(exact)
    missing = np.rint((exact - rounded).sum(1)).astype(int)
    nearest_up = np.argsort(rounded - exact, axis=1, kind="stable")
    for row in np.flatnonzero(missing):
        count = missing[row]
        changed = nearest_up[row, :count] if count > 0 else nearest_up[row, count:]
        rounded[row, changed] += np.sign(count)
    kept: NDArray[np.float32] = (rounded.reshape(channels.shape).clip(-steps, steps) * scale).astype(np.float32)
    return kept.reshape(weight.shape)


def round_weights(model: onnx.ModelProto, steps: int) -> None:
    """Round the weights of every convolution and dense layer with :func:`keep_sums`, in place."""
    names = {node.input[1] for node in model.graph.node if node.op_type in ("Conv", "Gemm")}
    for entry in model.graph.initializer:
        if entry.name in names:
            entry.CopyFrom(numpy_helper.from_array(keep_sums(numpy_helper.to_array(entry), steps), entry.name))
