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

#: Weights that are rounded at once: arrays that stay in the processor's cache.
BLOCK = 1 << 16


def keep_sums(weight: NDArray[np.float32], steps: int) -> NDArray[np.float32]:
    """Round a weight to a symmetric grid of ``2 steps + 1`` values an output channel.

    Args:
        weight: ``[O, I, ...]``. Sums are kept over each kernel, that is, over all axes after the second; for a dense
            layer ``[O, I]`` over its inputs.

    Returns:
        the rounded weight, as float32; rounded one by one on the same grid, it stays as it is.
    """
    channels = weight.reshape(len(weight), -1)
    length = int(np.prod(weight.shape[2:])) if weight.ndim > 2 else channels.shape[1]
    kept = np.empty_like(channels)
    some = max(1, BLOCK // channels.shape[1])
    for start in range(0, len(channels), some):
        block = channels[start : start + some].astype(np.float64)
        scale = np.abs(block).max(1, keepdims=True) / steps
        scale[scale == 0] = 1
        rounded = _round((block / scale).reshape(-1, length)).reshape(block.shape)
        kept[start : start + some] = rounded.clip(-steps, steps) * scale
    return kept.reshape(weight.shape)


def _round(exact: NDArray[np.float64]) -> NDArray[np.float64]:
    """To whole numbers, each row's sum within a half."""
    rounded = np.rint(exact)
    missing = np.rint((exact - rounded).sum(1)).astype(int)
    for row in np.flatnonzero(missing):
        count = missing[row]
        way_up = rounded[row] - exact[row]
        changed = _smallest(way_up, count) if count > 0 else len(way_up) - 1 - _smallest(-way_up[::-1], -count)
        rounded[row, changed] += np.sign(count)
    return rounded


def _smallest(values: NDArray[np.float64], count: int) -> NDArray[np.intp]:
    """Where the smallest values are; of equal ones the first. As a stable sort has it, in a fifth of its time."""
    bound = np.partition(values, count - 1)[count - 1]
    below = np.flatnonzero(values < bound)
    return np.concatenate([below, np.flatnonzero(values == bound)[: count - len(below)]])


def round_weights(model: onnx.ModelProto, steps: int) -> None:
    """Round the weights of every convolution and dense layer with :func:`keep_sums`, in place."""
    names = {node.input[1] for node in model.graph.node if node.op_type in ("Conv", "Gemm")}
    for entry in model.graph.initializer:
        if entry.name in names:
            entry.CopyFrom(numpy_helper.from_array(keep_sums(numpy_helper.to_array(entry), steps), entry.name))
