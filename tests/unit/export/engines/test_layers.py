"""The layers of an engine, from the builder's log and from the inspectors of TensorRT 10 and 11.

The two inspector answers are in the form of NVIDIA's own: TensorRT 10's and 11's developer guides, "Engine Inspector".
"""

import json

from export.engines import layers
from export.engines.layers import Layer


def line(name: str, kind: str, datatype: str, memory: str, tactic: str, nodes: str) -> str:
    tensor = f"{{ Name: a, Location: Device, Dimensions: [-1,3,224,224], Datatype: {datatype}, Format: {memory} }}"
    return (
        f"Name: {name}, LayerType: {kind}, Inputs: [ {tensor} ], "
        "Outputs: [ { Name: b, Datatype: Half, Format: Row } ], "
        "Constants: [ { Name: w, Datatype: Float, Format: Row } ], "
        f"TacticName: {tactic}, StreamId: 0, Metadata: {nodes}"
    )


LOG = "\n".join(
    [
        "Engine Layer Information:",
        "Layers:",
        line("conv1", "correlation", "Int8", "NCHW/32", "sm89_i8_64x64", "[ONNX Layer: node_conv][ONNX Layer: relu]"),
        line("softmax", "kgen", "Float", "Row", "soft", ""),
        "I/O Tensors:",
        line("image", "nothing", "UInt8", "Row", "none", ""),
    ]
)


def test_the_table_in_the_log() -> None:
    assert layers.from_log(["noise", LOG, "more noise"]) == [
        Layer("conv1", "correlation", "INT8", "sm89_i8_64x64", "NCHW/32", ("node_conv", "relu")),
        Layer("softmax", "kgen", "FP32", "soft", "Row"),
    ]


def test_a_log_without_a_table_has_no_layers() -> None:
    assert layers.from_log(["[V] nothing of the kind", "Layers:"]) == []


def test_only_the_last_table_counts() -> None:
    assert len(layers.from_log([LOG, LOG])) == 2


def test_the_inspector_of_10_and_of_11_say_the_same() -> None:
    common = {"Name": "conv1", "LayerType": "CaskConvolution", "TacticName": "t", "Metadata": "[ONNX Layer: node_conv]"}
    ten = {**common, "Inputs": [{"Name": "a", "Format/Datatype": "Channel major FP16 format where channel % 8 == 0"}]}
    eleven = {**common, "Inputs": [{"Name": "a", "Format": "Channel major where channel % 8 == 0", "DataType": "Half"}]}
    read = [
        layers.from_inspector(json.dumps({"Layers": [entry], inputs: ["image"]}))[0]
        for entry, inputs in ((ten, "Bindings"), (eleven, "I/O Tensors"))
    ]
    assert [(each.name, each.precision, each.tactic, each.nodes) for each in read] == [
        ("conv1", "FP16", "t", ("node_conv",))
    ] * 2
    assert read[0].multiplies


def test_names_alone_are_no_layers() -> None:
    assert layers.from_inspector('{"Layers": ["conv1", "softmax"]}') == []


def test_what_is_counted_and_reported() -> None:
    found = [
        Layer("a", "correlation", "INT8", "", ""),
        Layer("b", "gemm", "FP16", "", ""),
        Layer("c", "gemm", "INT8", "", ""),
        Layer("d", "kgen", "FP32", "", ""),
        Layer("__myl_FcAddRelu_myl0_11", "runtime_fusion", "FP16", "", ""),
    ]
    assert layers.precisions(found) == {"FP16": 2, "INT8": 2}
    assert [layer.name for layer in layers.others_than("INT8", found)] == ["b", "__myl_FcAddRelu_myl0_11"]
    assert layers.load(layers.dump(found)) == found
