"""The layers of an engine: what the builder made of the graph, each layer's precision, tactic and memory format.

Two sources say the same: the engine inspector's JSON, which needs the engine's own GPU, and the table that the builder
logs in detailed verbosity, which does not.
"""

from __future__ import annotations

import json
import re
from collections import Counter
from collections.abc import Iterable, Iterator
from dataclasses import asdict, dataclass
from typing import Any

#: Kinds that multiply matrices: nearly all the work, and where a precision matters.
MULTIPLICATIONS = (
    "correlation",
    "convolution",
    "gemm",
    "matrix_multiply",
    "matmul",
    "conv",
    "caskconvolution",
    "caskgemm",
)
PRECISIONS = {
    "Float": "FP32",
    "Half": "FP16",
    "Int8": "INT8",
    "FP8": "FP8",
    "E4M3": "FP8",
    "UInt8": "UINT8",
    "BF16": "BF16",
}
#: Where the builder's log has the table.
TABLE, TABLE_END = "Layers:", "I/O Tensors:"

#: A dense layer or convolution that was fused with what follows it, and compiled for that.
_FUSED = re.compile(r"__myl_(Fc|Conv|Corr)")
_NAME = re.compile(r"^Name: (.*?), LayerType: (.*?), Inputs: ")
_TENSOR = re.compile(r"\{ Name: (.*?), .*?Datatype: (\w+), Format: (.*?) \}")
_TACTIC = re.compile(r"TacticName: (.*?), StreamId")
_FROM = re.compile(r"\[ONNX Layer: (.*?)\]")


@dataclass(frozen=True, slots=True)
class Layer:
    """One layer of an engine."""

    name: str
    #: As the library calls it: ``correlation``, ``gemm``, ``kgen`` (a fused kernel of simple operations)...
    kind: str
    #: Of what it reads: INT8, FP16, FP32...
    precision: str
    tactic: str
    #: Memory format of what it reads.
    format: str
    #: Nodes of the ONNX graph that were fused into it.
    nodes: tuple[str, ...] = ()

    @property
    def multiplies(self) -> bool:
        """Whether it is a convolution or a dense layer."""
        return self.kind.lower() in MULTIPLICATIONS or bool(_FUSED.match(self.name))


def from_log(lines: Iterable[str]) -> list[Layer]:
    """Read the table that a builder logs; empty when it logged none."""
    layers: list[Layer] = []
    inside = False
    for line in "\n".join(lines).splitlines():
        if line.startswith(TABLE):
            layers, inside = [], True
        elif line.startswith(TABLE_END):
            inside = False
        elif inside and (head := _NAME.match(line)):
            inputs = line[head.end() : line.find(", Constants: ")]
            layers.append(_layer(head[1], head[2], _TENSOR.findall(inputs), _TACTIC.search(line), _FROM.findall(line)))
    return layers


def from_inspector(text: str) -> list[Layer]:
    """Read what ``IEngineInspector.get_engine_information`` answers as JSON, of TensorRT 10 and of 11."""
    return [
        _layer(
            str(entry.get("Name", "")),
            str(entry.get("LayerType", "")),
            list(_inspected(entry.get("Inputs", []))),
            entry.get("TacticName"),
            _FROM.findall(str(entry.get("Metadata", ""))),
        )
        for entry in json.loads(text)["Layers"]
        if isinstance(entry, dict)  # names alone, when the plan was built without detailed verbosity
    ]


def precisions(layers: Iterable[Layer]) -> dict[str, int]:
    """Precision -> how many convolutions and dense layers run in it."""
    return dict(sorted(Counter(layer.precision for layer in layers if layer.multiplies).items()))


def others_than(precision: str, layers: Iterable[Layer]) -> list[Layer]:
    """The convolutions and dense layers that do not run in ``precision``."""
    return [layer for layer in layers if layer.multiplies and layer.precision != precision]


def dump(layers: Iterable[Layer]) -> str:
    """The layers as JSON, one a line."""
    return "[\n" + ",\n".join(json.dumps(asdict(layer)) for layer in layers) + "\n]\n"


def load(text: str) -> list[Layer]:
    """What :func:`dump` wrote."""
    return [Layer(**{**entry, "nodes": tuple(entry["nodes"])}) for entry in json.loads(text)]


def _layer(name: str, kind: str, inputs: list[tuple[str, str, str]], tactic: Any, nodes: list[str]) -> Layer:
    _, datatype, memory = inputs[0] if inputs else ("", "", "")
    chosen = tactic[1] if isinstance(tactic, re.Match) else str(tactic or "")
    return Layer(name, kind, PRECISIONS.get(datatype, datatype), chosen, memory, tuple(dict.fromkeys(nodes)))


def _inspected(tensors: list[dict[str, Any]]) -> Iterator[tuple[str, str, str]]:
    """TensorRT 10 writes one ``Format/Datatype``, 11 writes ``Format`` and ``DataType`` apart."""
    for tensor in tensors:
        both = str(tensor.get("Format/Datatype", ""))
        datatype = tensor.get("DataType") or tensor.get("Datatype") or _spelled(both)
        yield str(tensor.get("Name", "")), str(datatype), str(tensor.get("Format") or both)


def _spelled(text: str) -> str:
    """The data type in a description such as ``Channel major FP16 format where channel % 8 == 0``."""
    words = {"FP32": "Float", "FP16": "Half", "INT8": "Int8", "FP8": "FP8", "UINT8": "UInt8", "BF16": "BF16"}
    return next((name for word, name in words.items() if word in text.upper()), "")
