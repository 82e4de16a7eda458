"""FP32 graph -> INT8 graph: explicit Q/DQ from one calibration, in the scheme that the runtime's kernels want.

- ``cpu``: uint8 activations, int8 weights per channel **in 7 bits**. Without VNNI the x86 kernels add two u8 x s8
  products in 16 bits and saturate; weights within ±64 cannot (255 · 64 · 2 < 2¹⁵), so every CPU gives the same answer.
- ``tensorrt``: int8 activations per tensor and weights per channel, both symmetric with zero point 0, float32 scales.
  Q/DQ stands before convolutions and dense layers only, so that bias, ReLU and pooling fuse into what they follow; what
  is not quantised is FP16.

The image is not calibrated: normalisation is (x - 128) / 128, so the pixels are the quantised activation already.
"""

from __future__ import annotations

import logging
import tempfile
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import onnx
from numpy.typing import NDArray
from onnx import helper, numpy_helper
from onnxruntime.quantization import QuantFormat, QuantType, quantize_static
from onnxruntime.quantization.calibrate import CalibrationMethod, TensorsData, save_tensors_data

from alexnet_client.contract import IMAGE, PIXEL_SCALE, PIXEL_ZERO
from export.graphs.calibration import ranges
from export.graphs.half import halve_residual
from export.graphs.onnx_file import strip_traces, write_graph
from export.graphs.rounding import round_weights
from export.graphs.typed_graph import GraphError

MULTIPLICATIONS = ("Conv", "Gemm")


@dataclass(frozen=True, slots=True)
class Scheme:
    """How activations and weights are quantised."""

    name: str
    activation: QuantType
    symmetric: bool
    #: Weights in 7 bits.
    reduce_range: bool
    #: Weights are -weight_steps ... weight_steps times their channel's scale.
    weight_steps: int
    #: Zero point of the normalised pixels at scale 1/128.
    pixel_zero: int
    #: How ranges are calibrated, of ``export.graphs.calibration.METHODS``: the best, or the simplest of equals.
    method: str
    #: Operators with 8-bit inputs. Softmax stays in float: its 8-bit form has a fixed scale of 1/256. Cast, Sub and Div
    #: are the normalisation.
    operators: tuple[str, ...]


SCHEMES = {
    scheme.name: scheme
    for scheme in (
        Scheme(
            "cpu",
            QuantType.QUInt8,
            symmetric=False,
            reduce_range=True,
            weight_steps=64,
            pixel_zero=PIXEL_ZERO,
            method="max",
            operators=(*MULTIPLICATIONS, "MaxPool", "Relu", "Reshape"),
        ),
        Scheme(
            "tensorrt",
            QuantType.QInt8,
            symmetric=True,
            reduce_range=False,
            weight_steps=127,
            pixel_zero=0,
            method="percentile",
            operators=MULTIPLICATIONS,
        ),
    )
}


def _advice(record: logging.LogRecord) -> bool:
    """ONNX Runtime advises to infer shapes and fuse first; shapes are there, and Q/DQ fuses."""
    return "pre-processing" not in record.getMessage()


def quantize(
    source: Path, target: Path, scheme: Scheme, batches: Iterator[NDArray[np.uint8]], method: str | None = None
) -> None:
    """Quantise the FP32 graph ``source`` into ``target``, atomically; the same inputs give the same bytes.

    Args:
        batches: calibration images, ``uint8[N, 224, 224, 3]``, real training images.
        method: how they become ranges, of :data:`export.graphs.calibration.METHODS`; the scheme's own by default.

    Raises:
        export.graphs.typed_graph.GraphError: ``source`` is not a graph that this exporter wrote.
        OSError: ``target`` could not be written.
    """
    graph = onnx.load(source)
    pixels = _normalised_pixels(graph)
    round_weights(graph, scheme.weight_steps)
    zero = np.array(scheme.pixel_zero, np.int8 if scheme.symmetric else np.uint8)
    scale = np.array(1 / PIXEL_SCALE, np.float32)
    logging.getLogger().addFilter(_advice)
    with tempfile.TemporaryDirectory() as folder:
        rounded, quantised, found = (Path(folder) / name for name in ("rounded.onnx", "quantised.onnx", "ranges.json"))
        onnx.save(graph, rounded)
        calibrated = ranges(rounded, scheme.operators, method or scheme.method, batches, symmetric=scheme.symmetric)
        save_tensors_data(
            TensorsData(
                CalibrationMethod.MinMax,
                {name: (np.float32(low), np.float32(high)) for name, (low, high) in calibrated.items()},
            ),
            found,
        )
        quantize_static(
            rounded,
            quantised,
            None,
            calibration_cache_path=found,
            quant_format=QuantFormat.QDQ,
            op_types_to_quantize=list(scheme.operators),
            per_channel=True,
            reduce_range=scheme.reduce_range,
            activation_type=scheme.activation,
            weight_type=QuantType.QInt8,
            calibrate_method=CalibrationMethod.MinMax,
            extra_options={
                "ActivationSymmetric": scheme.symmetric,
                "WeightSymmetric": True,
                # TensorRT adds biases in float; its parser takes no int32 DequantizeLinear.
                "QuantizeBias": not scheme.symmetric,
                "OpTypesToExcludeOutputQuantization": list(MULTIPLICATIONS) if scheme.symmetric else [],
                "TensorQuantOverrides": {pixels: [{"scale": scale, "zero_point": zero}]},
            },
        )
        graph = onnx.load(quantised)
    if scheme.symmetric:
        halve_residual(graph)
    else:
        _free_logits(graph.graph)
        _feed_pixels(graph, pixels)
    strip_traces(graph)
    write_graph(graph, target)


def _normalised_pixels(graph: onnx.ModelProto) -> str:
    """The name of the first convolution's input: the normalised image, channels first."""
    for node in graph.graph.node:
        if node.op_type == "Conv":
            return str(node.input[0])
    raise GraphError("the graph has no convolution: want an FP32 graph written by `python -m export fp32`")


def _feed_pixels(model: onnx.ModelProto, pixels: str) -> None:
    """Replace Cast, Sub, Div, Transpose, Quantize by one Transpose: the uint8 pixels are what the latter yields."""
    graph = model.graph
    quantised = next(node for node in graph.node if node.op_type == "QuantizeLinear" and node.input[0] == pixels)
    transpose = next(node for node in graph.node if pixels in node.output)
    dead = _ancestors(graph, pixels) | {quantised.name}
    attributes: dict[str, Any] = {a.name: helper.get_attribute_value(a) for a in transpose.attribute}
    feed = helper.make_node("Transpose", [IMAGE.name], [quantised.output[0]], name="pixels", **attributes)
    kept = [node for node in graph.node if node.name not in dead]
    del graph.node[:]
    graph.node.extend([feed, *kept])
    _drop_unused_initializers(graph)


def _free_logits(graph: onnx.GraphProto) -> None:
    """Take the 8-bit step off the logits: the last layer's sums are exact, and Softmax wants them in float."""
    producers = {output: node for node in graph.node for output in node.output}
    softmax = next(node for node in graph.node if node.op_type == "Softmax")
    dequantise = producers[softmax.input[0]]
    quantise = producers[dequantise.input[0]]
    softmax.input[0] = quantise.input[0]
    for node in (dequantise, quantise):
        graph.node.remove(node)
    _drop_unused_initializers(graph)


def _ancestors(graph: onnx.GraphProto, tensor: str) -> set[str]:
    names: set[str] = set()
    producers = {output: node for node in graph.node for output in node.output}
    pending = [tensor]
    while pending:
        node = producers.get(pending.pop())
        if node is not None and node.name not in names:
            names.add(node.name)
            pending.extend(node.input)
    return names


def _drop_unused_initializers(graph: onnx.GraphProto) -> None:
    used = {name for node in graph.node for name in node.input}
    kept = [entry for entry in graph.initializer if entry.name in used]
    del graph.initializer[:]
    graph.initializer.extend(kept)


def layer_types(path: Path) -> dict[str, str]:
    """Convolution or dense layer -> the element type of its weights as stored (``INT8``, ``FLOAT``, ``FLOAT16``)."""
    graph = onnx.load(path).graph
    stored = {entry.name: entry.data_type for entry in graph.initializer}
    through = {node.output[0]: node.input[0] for node in graph.node if node.op_type in ("DequantizeLinear", "Cast")}

    def origin(name: str) -> str:
        return origin(through[name]) if name in through else name

    return {
        node.name: onnx.TensorProto.DataType.Name(stored[origin(node.input[1])])
        for node in graph.node
        if node.op_type in MULTIPLICATIONS
    }


def scales(path: Path) -> dict[str, tuple[float, int]]:
    """Activation -> (scale, zero point), as the graph holds them."""
    graph = onnx.load(path).graph
    values = {entry.name: numpy_helper.to_array(entry) for entry in graph.initializer}
    return {
        node.input[0]: (float(values[node.input[1]]), int(values[node.input[2]]))
        for node in graph.node
        if node.op_type == "QuantizeLinear" and values[node.input[1]].ndim == 0
    }
