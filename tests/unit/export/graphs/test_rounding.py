"""Rounding that keeps sums."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from export.graphs.rounding import keep_sums


@pytest.mark.parametrize("shape", [(8, 3, 11, 11), (5, 7, 3, 3), (6, 40)])
@pytest.mark.parametrize("steps", [64, 127])
def test_sums_err_by_half_a_step_and_weights_by_one(shape: tuple[int, ...], steps: int) -> None:
    weight = np.random.default_rng(0).normal(size=shape).astype(np.float32)
    got = keep_sums(weight, steps)
    scale = np.abs(weight).reshape(len(weight), -1).max(1).reshape(-1, *[1] * (weight.ndim - 1)) / steps
    np.testing.assert_allclose(got / scale, np.rint(got / scale), atol=1e-3)
    assert (np.abs(got - weight) <= scale * 1.001).all()
    axes = tuple(range(2, weight.ndim)) or (1,)
    naive = np.rint(weight / scale) * scale
    error = np.abs(
        (got - weight).sum(axes)
        / scale.reshape(len(weight), -1)[:, :1].reshape(-1, *[1] * (len(shape) - len(axes) - 1))
    )
    naive_error = np.abs(
        (naive - weight).sum(axes)
        / scale.reshape(len(weight), -1)[:, :1].reshape(-1, *[1] * (len(shape) - len(axes) - 1))
    )
    assert error.max() <= 0.501
    assert naive_error.max() > 0.6


@given(arrays(np.float32, (2, 9), elements=st.floats(-4, 4, width=32)))
def test_rounding_twice_is_rounding_once(weight: np.ndarray) -> None:
    once = keep_sums(weight, 64)
    scale = np.abs(weight).max(1, keepdims=True) / 64
    scale[scale == 0] = 1
    np.testing.assert_allclose(np.rint(once / scale) * scale, once, atol=1e-5)


def test_a_kernel_of_zeros_stays_so() -> None:
    np.testing.assert_array_equal(keep_sums(np.zeros((2, 3, 2, 2), np.float32), 64), 0)


@given(arrays(np.float32, (2, 2, 9), elements=st.sampled_from([-1, -0.625, -0.28125, 0, 0.28125, 0.4375, 0.625, 1])))
def test_of_equal_weights_the_first_go_up_and_the_last_go_down(weight: np.ndarray) -> None:
    """Against a sort of every kernel, in plain Python."""
    for channel, got in zip(weight, keep_sums(weight, 4), strict=True):
        scale = np.abs(channel).max() / 4 or 1.0
        for kernel, kept in zip(channel.astype(float) / scale, got / scale, strict=True):
            wanted = [round(value) for value in kernel]
            missing = round(sum(kernel) - sum(wanted))
            order = sorted(range(9), key=lambda i: (wanted[i] - kernel[i], i))
            for i in order[:missing] if missing > 0 else order[missing:] if missing < 0 else []:
                wanted[i] += 1 if missing > 0 else -1
            np.testing.assert_allclose(kept, np.clip(wanted, -4, 4), atol=1e-5)
