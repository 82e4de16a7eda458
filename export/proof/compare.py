"""The comparator: how far a candidate's outputs are from a reference's."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from alexnet_client.checksum import checksum
from alexnet_client.contract import CHECKSUM
from alexnet_client.errors import AlexNetError
from alexnet_client.outputs import Outputs
from export.proof.proof import Comparison
from export.runtimes.runtime import Runtime

#: Images that show whether a graph adds up pixels as it should.
FEW = 8


class ComparisonError(AlexNetError):
    """Outputs that cannot be compared."""


def compare(reference: Outputs, candidate: Outputs, targets: NDArray[np.int64] | None = None) -> Comparison:
    """Compare two predictors' outputs for the same N images.

    Args:
        targets: the right classes, ``int64[N]``, where they are known.

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
    wanted, got = reference.probabilities.argmax(1), candidate.probabilities.argmax(1)
    lost = None if targets is None else float(100 * ((wanted == targets).mean() - (got == targets).mean()))
    return Comparison(
        images=len(got),
        max_abs_dp=float(np.abs(reference.probabilities - candidate.probabilities).max()),
        agreement=float(100 * (wanted == got).mean()),
        cosine=float(_cosine(reference.embedding, candidate.embedding).mean()),
        top1_loss=lost,
    )


def check_checksum(runtime: Runtime, pixels: NDArray[np.uint8]) -> None:
    """Check that a runtime says of ``uint8[N, 224, 224, 3]``, the first few, whose its answer is.

    Raises:
        ComparisonError: its checksum is not that of the pixels.
    """
    pixels = pixels[:FEW]
    (answered,) = runtime.run(pixels, [CHECKSUM.name]).values()
    if not np.array_equal(answered, checksum(pixels)):
        raise ComparisonError(f"{CHECKSUM.name}: it is not that of the pixels, to the bit: no client would believe it")


def _cosine(a: NDArray[np.float32], b: NDArray[np.float32]) -> NDArray[np.float64]:
    """Row by row. Two zero vectors are alike, a zero and another vector are not."""
    product = np.einsum("nd,nd->n", a, b, dtype=np.float64)
    norms = np.sqrt(np.einsum("nd,nd->n", a, a, dtype=np.float64) * np.einsum("nd,nd->n", b, b, dtype=np.float64))
    both_zero = ~a.any(1) & ~b.any(1)
    return np.where(norms > 0, product / np.where(norms > 0, norms, 1), both_zero.astype(np.float64))
