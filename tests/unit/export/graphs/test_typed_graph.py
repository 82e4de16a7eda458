"""What no engine can be built from is refused in one line, with the remedy."""

from pathlib import Path

import numpy as np
import pytest

from export.graphs import typed_graph
from export.graphs.typed_graph import GraphError
from tests import graphs


@pytest.mark.parametrize("half", [False, True])
def test_a_typed_graph_is_fine(tmp_path: Path, half: bool) -> None:
    typed_graph.check(graphs.tiny(tmp_path / "model.onnx", half=half))


def test_symmetric_quantisation_is_fine(tmp_path: Path) -> None:
    path = graphs.tiny(tmp_path / "model.onnx")
    typed_graph.check(graphs.edited(path, lambda graph: graphs.quantised(graph, np.array(0, np.int8))))


@pytest.mark.parametrize(
    ("change", "reason"),
    [
        (graphs.weakly_typed, r"is weakly typed, .*: export it with `python -m export fp32`, `fp16`"),
        (graphs.static_batch, r"has a static batch of 1, want a dynamic one for profiles: export it with"),
        (
            graphs.other_names,
            r"has the tensors image, probabilities, features, checksum, want image, probabilities, embedding",
        ),
        (
            graphs.asymmetric,
            r"quantised asymmetrically \(quantise has a zero point other than INT8 0\).*--scheme tensorrt",
        ),
    ],
)
def test_each_mistake_is_named(tmp_path: Path, change: object, reason: str) -> None:
    path = graphs.edited(graphs.tiny(tmp_path / "model.onnx"), change)
    with pytest.raises(GraphError, match=reason) as caught:
        typed_graph.check(path)
    assert "\n" not in str(caught.value)


def test_no_file_and_no_graph(tmp_path: Path) -> None:
    with pytest.raises(GraphError, match=r"there is no ONNX graph at .*: export it with"):
        typed_graph.check(tmp_path / "model.onnx")
    (tmp_path / "text.onnx").write_bytes(b"\xff\xff\xff not a graph")
    with pytest.raises(GraphError, match="is no ONNX graph"):
        typed_graph.check(tmp_path / "text.onnx")
