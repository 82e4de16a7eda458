"""Calibration: four methods, each against what it promises."""

from collections.abc import Iterator
from pathlib import Path

import numpy as np
import onnx
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from onnx import TensorProto, helper

from export.graphs import calibration
from export.graphs.calibration import METHODS, least_error, ranges


@pytest.fixture(scope="module")
def graph(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """y = x / 128, as float: with pixels in, all that is calibrated is known."""
    path = tmp_path_factory.mktemp("graph") / "relu.onnx"
    nodes = [
        helper.make_node("Cast", ["image"], ["float"], to=TensorProto.FLOAT),
        helper.make_node("Mul", ["float", "step"], ["x"]),
        helper.make_node("Relu", ["x"], ["y"]),
    ]
    model = helper.make_model(
        helper.make_graph(
            nodes,
            "relu",
            [helper.make_tensor_value_info("image", TensorProto.UINT8, ["N", 8, 8, 3])],
            [helper.make_tensor_value_info("y", TensorProto.FLOAT, ["N", 8, 8, 3])],
            [helper.make_tensor("step", TensorProto.FLOAT, [], [1 / 128])],
        ),
        opset_imports=[helper.make_opsetid("", 20)],
        ir_version=10,
    )
    onnx.save(model, path)
    return path


@pytest.fixture(autouse=True)
def few_bins(monkeypatch: pytest.MonkeyPatch) -> None:
    """The entropy method takes the square of their number."""
    monkeypatch.setattr(calibration, "BINS", 256)


def pixels() -> Iterator[np.ndarray]:
    """Nearly all dark, and one bright pixel in the second batch of three."""
    generator = np.random.default_rng(1)
    for number in range(3):
        batch = generator.binomial(40, 0.5, (200, 8, 8, 3)).astype(np.uint8)
        batch[0, 0, 0, 0] = 255 if number == 1 else 0
        yield batch


@pytest.mark.parametrize("method", METHODS)
@pytest.mark.parametrize("symmetric", [True, False])
def test_every_tensor_has_a_range(graph: Path, method: str, symmetric: bool) -> None:
    found = ranges(graph, ["Relu"], method, pixels(), symmetric=symmetric)
    assert sorted(found) == ["x", "y"]
    for low, high in found.values():
        assert low <= 0 < high if symmetric else low < high
        assert high <= 255 / 128 * (1 + 1 / calibration.BINS)
        if symmetric:
            assert low == pytest.approx(-high, abs=1e-3)


def test_max_keeps_the_one_bright_pixel_and_the_others_cut_it_off(graph: Path) -> None:
    highest = {method: ranges(graph, ["Relu"], method, pixels(), symmetric=True)["y"][1] for method in METHODS}
    assert highest["max"] == pytest.approx(255 / 128)
    assert highest["percentile"] < 60 / 128
    assert highest["entropy"] < 200 / 128


def error_of(values: np.ndarray, high: float) -> float:
    step = 2 * high / 255
    return float((((np.clip(np.rint((values + high) / step), 0, 255) * step - high) - values) ** 2).mean())


@settings(max_examples=10, deadline=None)
@given(st.integers(0, 2**32 - 1), st.floats(0.1, 10))
def test_no_other_range_has_a_smaller_error(seed: int, scale: float) -> None:
    values = np.random.default_rng(seed).laplace(0, scale, 20_000)
    counts, edges = np.histogram(values, 2048)
    low, high = least_error(counts, edges, symmetric=True)
    assert low == -high
    best = min(error_of(values, np.abs(values).max() * share) for share in np.linspace(0.05, 1, 60))
    assert error_of(values, high) <= best * 1.1


def test_no_images_are_an_error(graph: Path) -> None:
    with pytest.raises(ValueError, match="no calibration images|No data"):
        ranges(graph, ["Relu"], "max", iter(()), symmetric=True)
