"""FP16 for what a quantised graph leaves in float: the residual of the ``tensorrt`` scheme.

Scales stay FP32. A Cast stands after each DequantizeLinear and before each QuantizeLinear, where the builder fuses it
into its neighbours; Softmax and the outputs are FP32 as in every graph of the contract.
"""

from __future__ import annotations

import numpy as np
import onnx
from onnx import TensorProto, helper, numpy_helper

#: Operators that want FP32 whatever their neighbours are.
FLOAT_OPS = ("QuantizeLinear", "Softmax")


def halve_residual(model: onnx.ModelProto) -> None:
    """Make convolutions, dense layers and all between them FP16, in place; the image's normalisation stays as it is."""
    graph = model.graph
    initializers = {entry.name: entry for entry in graph.initializer}
    renamed: dict[str, str] = {}
    halved: set[str] = set()
    nodes: list[onnx.NodeProto] = []
    for node in graph.node:
        if node.op_type != "DequantizeLinear":
            for index, name in enumerate(node.input):
                node.input[index] = renamed.get(name, name)
        if node.op_type in ("Conv", "Gemm") and len(node.input) > 2:
            bias = initializers[node.input[2]]
            bias.CopyFrom(numpy_helper.from_array(numpy_helper.to_array(bias).astype(np.float16), bias.name))
        if node.op_type in FLOAT_OPS and node.input[0] in halved:
            nodes.append(_cast(node.input[0], f"{node.name}_float", TensorProto.FLOAT))
            node.input[0] = nodes[-1].output[0]
        nodes.append(node)
        if node.op_type == "DequantizeLinear":
            nodes.append(_cast(node.output[0], f"{node.output[0]}_half", TensorProto.FLOAT16))
            renamed[node.output[0]] = nodes[-1].output[0]
            halved.add(nodes[-1].output[0])
        elif node.op_type not in FLOAT_OPS and any(name in halved for name in node.input):
            halved.update(node.output)
    for output in graph.output:
        if output.name in halved:
            _rename(nodes, output.name, f"{output.name}_half")
            nodes.append(_cast(f"{output.name}_half", output.name, TensorProto.FLOAT))
    del graph.node[:]
    graph.node.extend(nodes)


def _cast(source: str, target: str, to: int) -> onnx.NodeProto:
    return helper.make_node("Cast", [source], [target], name=f"{target}_cast", to=to)


def _rename(nodes: list[onnx.NodeProto], old: str, new: str) -> None:
    for node in nodes:
        for names in (node.input, node.output):
            for index, name in enumerate(names):
                if name == old:
                    names[index] = new
