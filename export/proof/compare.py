"""The comparator: how far a candidate's outputs are from a reference's, and whether that is near enough."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from alexnet_client.errors import AlexNetError
from alexnet_client.outputs import Outputs

#: Percentages are differences of floats.
EPSILON = 1e-9


class ComparisonError(AlexNetError):
    """Outputs that cannot be compared."""


@dataclass(frozen=True, slots=True)
class Comparison:
    """A candidate against a reference, over the same images."""

    images: int
    #: Largest absolute difference of any probability.
    max_abs_dp: float
    #: Percent of images with the same most probable class.
    agreement: float
    #: Mean cosine similarity of the embeddings.
    cosine: float


@dataclass(frozen=True, slots=True)
class Limits:
    """What a comparison, and the loss of top-1 accuracy, must keep to; None is no limit."""

    max_abs_dp: float | None = None
    agreement: float | None = None
    cosine: float | None = None
    #: Points of top-1 that may be lost against the reference.
    top1_loss: float | None = None

    def broken_by(self, comparison: Comparison, top1_loss: float) -> list[str]:
        """One sentence for each limit that does not hold; empty when all do."""
        broken = []
        if self.max_abs_dp is not None and not comparison.max_abs_dp <= self.max_abs_dp:
            broken.append(f"max |Δp| is {comparison.max_abs_dp:.2e}, want at most {self.max_abs_dp:.0e}")
        if self.agreement is not None and not comparison.agreement >= self.agreement:
            broken.append(f"top-1 agreement is {comparison.agreement:.2f} %, want at least {self.agreement:g} %")
        if self.cosine is not None and not comparison.cosine >= self.cosine:
            broken.append(f"mean embedding cosine is {comparison.cosine:.4f}, want at least {self.cosine:g}")
        if self.top1_loss is not None:
            # One image may always be lost: of a few hundred it weighs more than the limit.
            allowed = max(self.top1_loss, 100 / comparison.images)
            if not top1_loss <= allowed + EPSILON:
                broken.append(f"top-1 is {top1_loss:.2f} points lower, want at most {allowed:g}")
        return broken

    def as_dict(self) -> dict[str, Any]:
        """The limits that are set, for a manifest."""
        return {name: value for name, value in asdict(self).items() if value is not None}


def compare(reference: Outputs, candidate: Outputs) -> Comparison:
    """Compare two predictors' outputs for the same N images.

    Raises:
        ComparisonError: the shapes differ, there are no images, or a candidate's value is not finite.
    """
    for name, wanted, got in zip(Outputs._fields, reference, candidate, strict=True):
        if wanted.shape != got.shape or not len(wanted):
            raise ComparisonError(
                f"{name}: got shape {got.shape}, want the reference's {wanted.shape}, at least one image"
            )
        if not np.isfinite(got).all():
            raise ComparisonError(f"{name}: the candidate answers with values that are not finite")
    same = reference.probabilities.argmax(1) == candidate.probabilities.argmax(1)
    return Comparison(
        images=len(same),
        max_abs_dp=float(np.abs(reference.probabilities - candidate.probabilities).max()),
        agreement=float(100 * same.mean()),
        cosine=float(_cosine(reference.embedding, candidate.embedding).mean()),
    )


def _cosine(a: NDArray[np.float32], b: NDArray[np.float32]) -> NDArray[np.float64]:
    """Row by row. Two zero vectors are alike, a zero and another vector are not."""
    product = np.einsum("nd,nd->n", a, b, dtype=np.float64)
    norms = np.sqrt(np.einsum("nd,nd->n", a, a, dtype=np.float64) * np.einsum("nd,nd->n", b, b, dtype=np.float64))
    both_zero = ~a.any(1) & ~b.any(1)
    return np.where(norms > 0, product / np.where(norms > 0, norms, 1), both_zero.astype(np.float64))
