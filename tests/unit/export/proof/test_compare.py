"""The comparator against hand-made numbers."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from alexnet_client.outputs import Outputs
from export.proof.compare import ComparisonError, compare
from export.proof.proof import Comparison, Limits, Verdict, verdict_on


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
    right = np.zeros(1000, np.int64)
    reference = outputs([[0.9, 0.1]] * 1000, [[1, 0]] * 1000)
    far = compare(reference, outputs([[0.1, 0.9]] * 1000, [[0, 1]] * 1000), right)
    assert far.top1_loss == 100
    limits = Limits(max_abs_dp=0.1, agreement=98, cosine=0.99, top1_loss=0.3)
    verdict, reasons = verdict_on(far, limits)
    assert verdict is Verdict.FAILED
    assert [sentence.split(" is ")[0] for sentence in reasons] == [
        "max |Δp|",
        "top-1 agreement",
        "mean embedding cosine",
        "top-1",
    ]
    assert verdict_on(far, Limits()) == (Verdict.PASSED, ())
    assert verdict_on(compare(reference, reference, right), limits) == (Verdict.PASSED, ())
    assert limits.as_dict() == {"max_abs_dp": 0.1, "agreement": 98, "cosine": 0.99, "top1_loss": 0.3}


def test_without_labels_no_accuracy_is_lost() -> None:
    one = outputs([[0.9, 0.1]], [[1, 0]])
    assert compare(one, one).top1_loss is None
    assert Limits(top1_loss=0.0).broken_by(compare(one, one)) == []


@pytest.mark.parametrize(("lost", "kept"), [(1, True), (2, False)])
def test_one_image_may_be_lost_where_there_are_few(lost: int, kept: bool) -> None:
    reference = outputs([[0.9, 0.1]] * 400, [[1, 0]] * 400)
    candidate = outputs([[0.1, 0.9]] * lost + [[0.9, 0.1]] * (400 - lost), [[1, 0]] * 400)
    comparison = compare(reference, candidate, np.zeros(400, np.int64))
    assert comparison.top1_loss == pytest.approx(100 * lost / 400)
    assert (Limits(top1_loss=0.1).broken_by(comparison) == []) == kept


def test_a_figure_that_is_no_number_breaks_its_limit() -> None:
    assert Limits(top1_loss=0.3).broken_by(Comparison(1, 0.0, 100.0, 1.0, float("nan")))
    assert Limits(cosine=0.9).broken_by(Comparison(1, 0.0, 100.0, float("nan")))
