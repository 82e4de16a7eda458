"""What a strongly typed builder wants of an ONNX graph, checked before it is asked: each refusal names a remedy."""

from __future__ import annotations

from pathlib import Path

import onnx
from google.protobuf.message import DecodeError
from onnx import TensorProto, numpy_helper, shape_inference

from alexnet_client.contract import IMAGE, NETWORK_OUTPUTS
from alexnet_client.errors import AlexNetError

REMEDY = "export it with `python -m export fp32`, `fp16` or `int8 --scheme tensorrt`"


class GraphError(AlexNetError):
    """A graph that no engine can be built from."""


def check(path: Path) -> None:
    """Check that ``path`` is a typed, symmetric graph with a dynamic batch and the contract's tensors.

    Raises:
        GraphError: it is not; names what was found and the remedy.
        FileNotFoundError: there is no such file.
    """
    if not path.is_file():
        raise GraphError(f"there is no ONNX graph at {path}: {REMEDY}")
    try:
        model = onnx.load(path)
    except DecodeError as error:
        raise GraphError(f"{path} is no ONNX graph: {REMEDY}") from error
    _check_names(model.graph, path)
    _check_batch(model.graph, path)
    _check_types(model, path)
    _check_symmetry(model.graph, path)


def _check_names(graph: onnx.GraphProto, path: Path) -> None:
    got = [entry.name for entry in (*graph.input, *graph.output)]
    wanted = [IMAGE.name, *(tensor.name for tensor in NETWORK_OUTPUTS)]
    if got != wanted:
        raise GraphError(f"{path} has the tensors {', '.join(got)}, want {', '.join(wanted)}: {REMEDY}")


def _check_batch(graph: onnx.GraphProto, path: Path) -> None:
    batch = graph.input[0].type.tensor_type.shape.dim[0]
    if batch.dim_value:
        raise GraphError(f"{path} has a static batch of {batch.dim_value}, want a dynamic one for profiles: {REMEDY}")


def _check_types(model: onnx.ModelProto, path: Path) -> None:
    """Every node's operands agree; a converter that halves some weights only leaves nodes where they do not."""
    try:
        shape_inference.infer_shapes(model, check_type=True, strict_mode=True)
    except shape_inference.InferenceError as error:
        first = str(error).strip().splitlines()[-1].strip()
        raise GraphError(f"{path} is weakly typed, some node mixes element types ({first}): {REMEDY}") from error


def _check_symmetry(graph: onnx.GraphProto, path: Path) -> None:
    values = {entry.name: entry for entry in graph.initializer}
    for node in graph.node:
        if node.op_type not in ("QuantizeLinear", "DequantizeLinear") or len(node.input) < 3:
            continue
        zero = values.get(node.input[2])
        if zero is None:
            continue
        if zero.data_type == TensorProto.UINT8 or (
            zero.data_type == TensorProto.INT8 and numpy_helper.to_array(zero).any()
        ):
            raise GraphError(
                f"{path} is quantised asymmetrically ({node.name} has a zero point other than INT8 0), TensorRT takes "
                "symmetric scales only: quantise it with `python -m export int8 --scheme tensorrt`"
            )
