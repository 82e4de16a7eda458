"""Calibration: the range of every activation over real images, by one of four methods.

- ``max``: the smallest and the largest value seen.
- ``entropy``: the range whose 8-bit histogram is nearest to the values' own by Kullback-Leibler divergence (Migacz,
  "8-bit Inference with TensorRT", GTC 2017).
- ``percentile``: without the outermost values, 99.999 % are inside.
- ``mse``: the range with the least mean squared error after rounding (Nagel et al., "A White Paper on Neural Network
  Quantization", 2021, section 3.1).

The first three are ONNX Runtime's; the fourth is computed from its histograms.
"""

from __future__ import annotations

import contextlib
import io
import tempfile
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from onnxruntime.quantization import CalibrationDataReader, CalibrationMethod
from onnxruntime.quantization.calibrate import create_calibrator

from alexnet_client.contract import IMAGE

#: An activation's smallest and largest value that 8 bits must hold.
Range = tuple[float, float]
METHODS = {
    "max": CalibrationMethod.MinMax,
    "entropy": CalibrationMethod.Entropy,
    "percentile": CalibrationMethod.Percentile,
    "mse": CalibrationMethod.Percentile,
}
BINS = 2048
#: Of 8 bits; the entropy method's own histogram has as many.
STEPS = 256
#: Ranges that ``mse`` tries: this many, evenly from none to all of what was seen.
TRIED = 100


class _Reader(CalibrationDataReader):  # type: ignore[misc]
    """One batch: ONNX Runtime keeps all activations of all that a reader gives."""

    def __init__(self, batch: NDArray[np.uint8]) -> None:
        self._batch: dict[str, NDArray[np.uint8]] | None = {IMAGE.name: batch}

    def get_next(self) -> dict[str, NDArray[np.uint8]] | None:
        batch, self._batch = self._batch, None
        return batch


def ranges(
    graph: Path, operators: Sequence[str], method: str, batches: Iterator[NDArray[np.uint8]], *, symmetric: bool
) -> dict[str, Range]:
    """The range of every input and output of the operators, by its name.

    Args:
        batches: ``uint8[N, 224, 224, 3]`` each.
        symmetric: around zero.

    Raises:
        ValueError: there were no batches.
    """
    options: dict[str, Any] = {"symmetric": symmetric}
    if method != "max":
        options |= {"num_bins": BINS}
    if method == "entropy":
        options |= {"num_quantized_bins": STEPS}
    with tempfile.TemporaryDirectory() as folder, contextlib.redirect_stdout(io.StringIO()):  # it prints its progress
        calibrator = create_calibrator(
            graph,
            list(operators),
            augmented_model_path=str(Path(folder) / "augmented.onnx"),
            calibrate_method=METHODS[method],
            extra_options=options,
        )
        for batch in batches:
            calibrator.collect_data(_Reader(batch))
        found = calibrator.compute_data()
    if found is None:
        raise ValueError("got no calibration images")
    if method == "mse":
        histograms = calibrator.collector.histogram_dict
        return {name: least_error(each[0], each[1], symmetric=symmetric) for name, each in histograms.items()}
    return {name: _range(each.range_value, symmetric=symmetric) for name, each in found.items()}


def _range(found: tuple[Any, Any], *, symmetric: bool) -> Range:
    """Some calibrators answer arrays of one number, and leave it to the quantiser to make a range symmetric."""
    low, high = (float(np.asarray(end).item()) for end in found)
    largest = max(abs(low), abs(high))
    return (-largest, largest) if symmetric else (low, high)


def least_error(counts: NDArray[np.int64], edges: NDArray[np.float32], *, symmetric: bool) -> Range:
    """The range whose 8-bit grid has the least mean squared error over a histogram.

    Args:
        counts: values in each of N bins.
        edges: float[N + 1], rising.
        symmetric: around zero; otherwise both ends of what was seen shrink alike.
    """
    centres = (edges[:-1] + edges[1:]).astype(np.float64) / 2
    seen = np.flatnonzero(counts)
    low, high = min(float(edges[seen[0]]), 0.0), max(float(edges[seen[-1] + 1]), 0.0)
    if symmetric:
        high = max(-low, high)
        low = -high
    best = (np.inf, low, high)
    for share in np.linspace(1 / TRIED, 1, TRIED):
        start, end = low * share, high * share
        scale = (end - start) / (STEPS - 1) or 1.0
        rounded = np.clip(np.rint((centres - start) / scale), 0, STEPS - 1) * scale + start
        error = float((counts * (rounded - centres) ** 2).sum())
        best = min(best, (error, start, end))
    return best[1], best[2]
