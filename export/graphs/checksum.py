"""The checksum of the pixels, computed by the graph: it is about what the network was given, in any runtime."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import onnx
from onnx import TensorProto, helper, numpy_helper

from alexnet_client.contract import CHANNELS, CHECKSUM, CHECKSUM_CELLS, IMAGE, IMAGE_SIDE

_CELL = IMAGE_SIDE // CHECKSUM_CELLS


def append_checksum(model: onnx.ModelProto) -> None:
    """Add the output ``checksum``, float32 [N, 4, 4, 3], in place.

    As :func:`alexnet_client.checksum.checksum`: rows of pixels are added first, where memory lies in order, and then
    what lies side by side. It is a branch of its own from ``image``, which no quantiser touches.
    """
    graph = model.graph

    def add(operator: str, inputs: Sequence[str], output: str, **attributes: Any) -> str:
        graph.node.append(helper.make_node(operator, inputs, [output], name=f"{output}_{operator}", **attributes))
        return output

    def constant(name: str, values: Sequence[int]) -> str:
        graph.initializer.append(numpy_helper.from_array(np.array(values, np.int64), f"{CHECKSUM.name}_{name}"))
        return f"{CHECKSUM.name}_{name}"

    def total(source: str, shape: Sequence[int], axis: int, output: str) -> str:
        folded = add("Reshape", [source, constant(f"{output}_shape", shape)], f"{output}_folded")
        return add("ReduceSum", [folded, constant(f"{output}_axis", [axis])], output, keepdims=0)

    numbers = add("Cast", [IMAGE.name], f"{CHECKSUM.name}_pixels", to=TensorProto.FLOAT)
    rows = total(numbers, (0, CHECKSUM_CELLS, _CELL, IMAGE_SIDE * CHANNELS), 2, f"{CHECKSUM.name}_rows")
    total(rows, (0, CHECKSUM_CELLS, CHECKSUM_CELLS, _CELL, CHANNELS), 3, CHECKSUM.name)
    batch = graph.input[0].type.tensor_type.shape.dim[0].dim_param
    graph.output.append(helper.make_tensor_value_info(CHECKSUM.name, TensorProto.FLOAT, [batch, *CHECKSUM.shape]))
