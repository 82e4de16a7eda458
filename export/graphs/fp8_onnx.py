"""FP32 graph -> FP8 graph: explicit Q/DQ in E4M3, scales FP32, the rest FP16.

E4M3 is the 8-bit float with 4 exponent and 3 mantissa bits, largest value 448 (Micikevicius et al., "FP8 Formats for
Deep Learning", 2022). Activations are per tensor and weights per output channel, both scaled to that largest value.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import numpy as np
import onnx
from numpy.typing import NDArray
from onnx import TensorProto, helper, numpy_helper

from export.graphs.calibration import ranges
from export.graphs.half import halve_residual
from export.graphs.int8_onnx import MULTIPLICATIONS
from export.graphs.onnx_file import strip_traces, write_graph

LARGEST = 448.0
#: What calibrates it: a float grid is fine near zero, so nothing is gained by cutting large values off.
METHOD = "max"
ZERO = "fp8_zero"


def quantize_fp8(source: Path, target: Path, batches: Iterator[NDArray[np.uint8]]) -> None:
    """Quantise the FP32 graph ``source`` into ``target``, atomically; the same inputs give the same bytes.

    Args:
        batches: calibration images, ``uint8[N, 224, 224, 3]``.

    Raises:
        OSError: ``target`` could not be written.
    """
    model = onnx.load(source)
    found = ranges(source, MULTIPLICATIONS, METHOD, batches, symmetric=True)
    weights = {entry.name: entry for entry in model.graph.initializer}
    quantised: dict[str, str] = {}
    nodes: list[onnx.NodeProto] = []
    zero = helper.make_tensor(ZERO, TensorProto.FLOAT8E4M3FN, [], [0.0])
    model.graph.initializer.append(zero)
    for node in model.graph.node:
        if node.op_type in MULTIPLICATIONS:
            activation, weight = node.input[0], weights[node.input[1]]
            if activation not in quantised:
                scale = np.float32(max(map(abs, found[activation])) / LARGEST)
                nodes += _pair(model.graph, activation, scale)
                quantised[activation] = nodes[-1].output[0]
            node.input[0] = quantised[activation]
            nodes.append(_quantised_weight(model.graph, weight))
            node.input[1] = nodes[-1].output[0]
        nodes.append(node)
    del model.graph.node[:]
    model.graph.node.extend(nodes)
    halve_residual(model)
    strip_traces(model)
    write_graph(model, target)


def _pair(graph: onnx.GraphProto, name: str, scale: np.float32) -> list[onnx.NodeProto]:
    graph.initializer.append(numpy_helper.from_array(np.array(scale, np.float32), f"{name}_scale"))
    ends = (f"{name}_fp8", f"{name}_DequantizeLinear_Output")
    return [
        helper.make_node("QuantizeLinear", [name, f"{name}_scale", ZERO], [ends[0]], name=f"{name}_QuantizeLinear"),
        helper.make_node("DequantizeLinear", [ends[0], f"{name}_scale", ZERO], [ends[1]], name=ends[1]),
    ]


def _quantised_weight(graph: onnx.GraphProto, weight: onnx.TensorProto) -> onnx.NodeProto:
    values = numpy_helper.to_array(weight)
    channels = values.reshape(len(values), -1)
    largest = np.abs(channels).max(1)
    scale = (np.where(largest > 0, largest, 1.0) / LARGEST).astype(np.float32)
    scaled = channels / scale[:, None]
    stored = helper.make_tensor(weight.name, TensorProto.FLOAT8E4M3FN, values.shape, scaled.ravel())
    weight.CopyFrom(stored)
    names = (f"{weight.name}_scale", f"{weight.name}_zero", f"{weight.name}_DequantizeLinear_Output")
    graph.initializer.append(numpy_helper.from_array(scale, names[0]))
    graph.initializer.append(helper.make_tensor(names[1], TensorProto.FLOAT8E4M3FN, scale.shape, np.zeros(len(scale))))
    return helper.make_node("DequantizeLinear", [weight.name, names[0], names[1]], [names[2]], name=names[2], axis=0)
