"""A network small enough to build an engine from in a moment, with the contract's inputs and outputs."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import onnx
from onnx import TensorProto, helper, numpy_helper

from export.graphs.checksum import append_checksum

CLASSES = 3


def tiny(path: Path, *, half: bool = False, seed: int = 0) -> Path:
    """Mean colour -> dense -> ReLU -> ``embedding`` -> dense -> softmax -> ``probabilities``."""
    real, kind = (np.float16, TensorProto.FLOAT16) if half else (np.float32, TensorProto.FLOAT)
    generator = np.random.default_rng(seed)
    weights = {
        "scale": np.array(1 / 128),
        "w1": generator.normal(0, 1, (3, 4096)),
        "b1": np.zeros(4096),
        "w2": generator.normal(0, 0.02, (4096, CLASSES)),
        "b2": np.zeros(CLASSES),
    }
    nodes = [
        helper.make_node("Cast", ["image"], ["cast"], name="cast", to=kind),
        helper.make_node("Mul", ["cast", "scale"], ["scaled"], name="scaled"),
        helper.make_node("Transpose", ["scaled"], ["chw"], name="chw", perm=[0, 3, 1, 2]),
        helper.make_node("GlobalAveragePool", ["chw"], ["pooled"], name="pooled"),
        helper.make_node("Flatten", ["pooled"], ["flat"], name="flat"),
        helper.make_node("Gemm", ["flat", "w1", "b1"], ["hidden"], name="dense1"),
        helper.make_node("Relu", ["hidden"], ["embedded"], name="relu"),
        helper.make_node("Gemm", ["embedded", "w2", "b2"], ["logits"], name="dense2"),
        helper.make_node("Cast", ["embedded"], ["embedding"], name="out1", to=TensorProto.FLOAT),
        helper.make_node("Cast", ["logits"], ["float_logits"], name="out2", to=TensorProto.FLOAT),
        helper.make_node("Softmax", ["float_logits"], ["probabilities"], name="softmax", axis=1),
    ]
    model = helper.make_model(
        helper.make_graph(
            nodes,
            "tiny",
            [helper.make_tensor_value_info("image", TensorProto.UINT8, ["N", 224, 224, 3])],
            [
                helper.make_tensor_value_info("probabilities", TensorProto.FLOAT, ["N", CLASSES]),
                helper.make_tensor_value_info("embedding", TensorProto.FLOAT, ["N", 4096]),
            ],
            [numpy_helper.from_array(value.astype(real), name) for name, value in weights.items()],
        ),
        opset_imports=[helper.make_opsetid("", 20)],
        ir_version=10,
    )
    append_checksum(model)
    path.parent.mkdir(parents=True, exist_ok=True)
    onnx.save(model, path)
    return path


def edited(path: Path, change) -> Path:  # type: ignore[no-untyped-def]
    """The graph at ``path`` after ``change(graph)``."""
    model = onnx.load(path)
    change(model.graph)
    onnx.save(model, path)
    return path


def weakly_typed(graph: onnx.GraphProto) -> None:
    """Half of one layer's weights only, as converters of FP32 graphs leave it."""
    for entry in graph.initializer:
        if entry.name == "w1":
            entry.CopyFrom(numpy_helper.from_array(numpy_helper.to_array(entry).astype(np.float16), "w1"))


def static_batch(graph: onnx.GraphProto) -> None:
    """One image at a time."""
    graph.input[0].type.tensor_type.shape.dim[0].dim_value = 1


def other_names(graph: onnx.GraphProto) -> None:
    """Another network's output."""
    graph.output[1].name = "features"
    next(node for node in graph.node if node.name == "out1").output[0] = "features"


def asymmetric(graph: onnx.GraphProto) -> None:
    """uint8 activations with a zero point, the processor's scheme."""
    quantised(graph, np.array(17, np.uint8))


def quantised(graph: onnx.GraphProto, zero: np.ndarray) -> None:
    """Q/DQ before the second dense layer."""
    graph.initializer.append(numpy_helper.from_array(np.array(0.1, np.float32), "step"))
    graph.initializer.append(numpy_helper.from_array(zero, "zero"))
    index = next(number for number, node in enumerate(graph.node) if node.name == "dense2")
    graph.node[index].input[0] = "dequantised"
    graph.node.insert(index, helper.make_node("DequantizeLinear", ["q", "step", "zero"], ["dequantised"], name="dq"))
    graph.node.insert(index, helper.make_node("QuantizeLinear", ["embedded", "step", "zero"], ["q"], name="quantise"))


def unsupported(graph: onnx.GraphProto) -> None:
    """An operator that no engine has: the determinant of one number is that number."""
    index = next(number for number, node in enumerate(graph.node) if node.name == "softmax")
    graph.initializer.append(numpy_helper.from_array(np.array([-1, CLASSES, 1, 1]), "matrices"))
    graph.initializer.append(numpy_helper.from_array(np.array([-1, CLASSES]), "rows"))
    graph.node[index].input[0] = "same"
    nodes = [
        helper.make_node("Reshape", ["float_logits", "matrices"], ["each"], name="each"),
        helper.make_node("Det", ["each"], ["flat_det"], name="determinant"),
        helper.make_node("Reshape", ["flat_det", "rows"], ["same"], name="same"),
    ]
    for node in reversed(nodes):
        graph.node.insert(index, node)
