"""The comparator against hand-made numbers."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from alexnet_client.outputs import Outputs
from export.proof.compare import ComparisonError, Limits, compare


def outputs(probabilities, embedding) -> Outputs:
    return Outputs(np.array(probabilities, np.float32), np.array(embedding, np.float32))


def test_figures_are_those_computed_by_hand() -> None:
    reference = outputs([[0.9, 0.1], [0.4, 0.6]], [[1, 0], [0, 2]])
    candidate = outputs([[0.8, 0.2], [0.75, 0.25]], [[1, 1], [0, 1]])
    got = compare(reference, candidate)
    assert got.images == 2
    assert got.max_abs_dp == pytest.approx(0.35)
    assert got.agreement == 50
    assert got.cosine == pytest.approx((1 / np.sqrt(2) + 1) / 2)


def test_zero_embeddings_are_alike_only_among_themselves() -> None:
    reference = outputs([[1.0], [1.0]], [[0, 0], [0, 0]])
    assert compare(reference, reference).cosine == 1
    assert compare(reference, outputs([[1.0], [1.0]], [[0, 0], [3, 0]])).cosine == 0.5


@given(arrays(np.float32, (3, 4), elements=st.floats(0, 1, width=32)))
def test_a_predictor_agrees_with_itself(values) -> None:
    same = compare(Outputs(values, values), Outputs(values, values))
    assert (same.max_abs_dp, same.agreement) == (0, 100)
    assert same.cosine == pytest.approx(1)


def test_other_shapes_and_values_that_are_not_finite_are_refused() -> None:
    one = outputs([[1.0]], [[1.0]])
    with pytest.raises(ComparisonError, match=r"embedding: got shape \(1, 2\), want the reference's \(1, 1\)"):
        compare(one, outputs([[1.0]], [[1.0, 2.0]]))
    with pytest.raises(ComparisonError, match=r"probabilities: .*not finite"):
        compare(one, outputs([[np.nan]], [[1.0]]))
    with pytest.raises(ComparisonError, match="at least one image"):
        compare(Outputs(one.probabilities[:0], one.embedding[:0]), Outputs(one.probabilities[:0], one.embedding[:0]))


def test_each_limit_is_named_when_it_is_broken() -> None:
    far = compare(outputs([[0.9, 0.1]] * 1000, [[1, 0]] * 1000), outputs([[0.1, 0.9]] * 1000, [[0, 1]] * 1000))
    limits = Limits(max_abs_dp=0.1, agreement=98, cosine=0.99, top1_loss=0.3)
    broken = limits.broken_by(far, top1_loss=1.5)
    assert [sentence.split(" is ")[0] for sentence in broken] == [
        "max |Δp|",
        "top-1 agreement",
        "mean embedding cosine",
        "top-1",
    ]
    assert Limits().broken_by(far, 100) == []
    assert limits.as_dict() == {"max_abs_dp": 0.1, "agreement": 98, "cosine": 0.99, "top1_loss": 0.3}


def test_one_image_may_be_lost_where_there_are_few() -> None:
    one = outputs([[0.9, 0.1]] * 400, [[1, 0]] * 400)
    comparison = compare(one, one)
    assert Limits(top1_loss=0.1).broken_by(comparison, 100 / 400) == []
    assert Limits(top1_loss=0.1).broken_by(comparison, 200 / 400)


def test_a_figure_that_is_no_number_breaks_its_limit() -> None:
    comparison = compare(outputs([[1.0]], [[1.0]]), outputs([[1.0]], [[1.0]]))
    assert Limits(top1_loss=0.3).broken_by(comparison, float("nan"))
