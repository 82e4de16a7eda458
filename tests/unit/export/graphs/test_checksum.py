"""The graph's checksum is the client's, to the bit."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import onnx
import pytest

from alexnet_client.checksum import checksum
from alexnet_client.contract import CHECKSUM
from export.proof.compare import ComparisonError, check_checksum
from export.runtimes.onnx import OnnxRuntime
from tests import graphs

#: Noise, and what adds up to most.
PIXELS = np.random.default_rng(0).integers(0, 256, (3, 224, 224, 3), np.uint8)
PIXELS[2] = 255


@pytest.mark.parametrize("literal", [False, True], ids=["fused", "node by node"])
def test_the_graph_adds_up_what_it_is_given(tmp_path: Path, literal: bool) -> None:
    runtime = OnnxRuntime(graphs.tiny(tmp_path / "model.onnx"), literal=literal)
    for count in (1, 3):
        (got,) = runtime.run(PIXELS[:count], [CHECKSUM.name]).values()
        assert np.array_equal(got, checksum(PIXELS[:count]))
    check_checksum(runtime, PIXELS)


def test_a_graph_that_adds_up_something_else_is_not_proved(tmp_path: Path) -> None:
    def spoil(graph: onnx.GraphProto) -> None:
        shape = next(entry for entry in graph.initializer if entry.name == "checksum_checksum_shape")
        shape.CopyFrom(onnx.numpy_helper.from_array(np.array([0, 4, 4, 3, 56]), shape.name))
        graph.node[-1].input[1] = "other_axis"
        graph.initializer.append(onnx.numpy_helper.from_array(np.array([4]), "other_axis"))

    runtime = OnnxRuntime(graphs.edited(graphs.tiny(tmp_path / "model.onnx"), spoil))
    with pytest.raises(ComparisonError, match="checksum: it is not that of the pixels, to the bit"):
        check_checksum(runtime, PIXELS)
