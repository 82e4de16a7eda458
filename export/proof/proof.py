"""The Proof: what was compared with what, on which data, by which runtime and preprocessing, and what came of it."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from enum import StrEnum
from typing import Any

from alexnet_client.outputs import Identity

#: Percentages are differences of floats.
EPSILON = 1e-9
#: The reason of an engine whose GPU is not on this machine.
NO_DEVICE = "no device"


class Verdict(StrEnum):
    """What a proof comes to."""

    PASSED = "passed"
    FAILED = "failed"
    UNPROVED = "unproved"


@dataclass(frozen=True, slots=True)
class Data:
    """The pictures that were compared on."""

    name: str
    sha256: str
    images: int


@dataclass(frozen=True, slots=True)
class Accuracy:
    """Of the artefact, in percent."""

    top1: float
    top5: float


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
    #: Points of top-1 lost against the reference; None where the pictures have no labels.
    top1_loss: float | None = None


@dataclass(frozen=True, slots=True)
class Limits:
    """What a comparison must keep to; None is no limit."""

    max_abs_dp: float | None = None
    agreement: float | None = None
    cosine: float | None = None
    top1_loss: float | None = None

    def broken_by(self, comparison: Comparison) -> list[str]:
        """One sentence for each limit that does not hold; empty when all do."""
        broken = []
        if self.max_abs_dp is not None and not comparison.max_abs_dp <= self.max_abs_dp:
            broken.append(f"max |Δp| is {comparison.max_abs_dp:.2e}, want at most {self.max_abs_dp:.0e}")
        if self.agreement is not None and not comparison.agreement >= self.agreement:
            broken.append(f"top-1 agreement is {comparison.agreement:.2f} %, want at least {self.agreement:g} %")
        if self.cosine is not None and not comparison.cosine >= self.cosine:
            broken.append(f"mean embedding cosine is {comparison.cosine:.4f}, want at least {self.cosine:g}")
        if self.top1_loss is not None and comparison.top1_loss is not None:
            # One image may always be lost: of a few hundred it weighs more than the limit.
            allowed = max(self.top1_loss, 100 / comparison.images)
            if not comparison.top1_loss <= allowed + EPSILON:
                broken.append(f"top-1 is {comparison.top1_loss:.2f} points lower, want at most {allowed:g}")
        return broken

    def as_dict(self) -> dict[str, Any]:
        """The limits that are set."""
        return {name: value for name, value in asdict(self).items() if value is not None}


@dataclass(frozen=True, slots=True)
class Proof:
    """A verdict, and everything that it rests on."""

    verdict: Verdict = Verdict.UNPROVED
    #: Why it is not ``passed``.
    reasons: tuple[str, ...] = ("run `python -m export verify`",)
    #: What answered.
    runtime: Identity | None = None
    #: What was taken as right: PyTorch with the checkpoint, or the FP32 graph.
    reference: Identity | None = None
    #: Fingerprint of what made the pixels.
    preprocessing: str = ""
    data: Data | None = None
    comparison: Comparison | None = None
    limits: Limits | None = None
    #: None: not measured, the pictures have no labels.
    accuracy: Accuracy | None = None
    #: What no figure shows: how a decoder or an ensemble was checked, that a graph was calibrated on few images.
    checks: tuple[str, ...] = ()

    @property
    def passed(self) -> bool:
        """Whether it may be published."""
        return self.verdict is Verdict.PASSED

    @property
    def lacks_device(self) -> bool:
        """Whether nothing is missing but the GPU that it was built for."""
        return self.verdict is Verdict.UNPROVED and self.reasons == (NO_DEVICE,)

    def __str__(self) -> str:
        """``passed``, or the verdict and its reasons."""
        return f"{self.verdict.value}: {'; '.join(self.reasons)}" if self.reasons else self.verdict.value


#: An engine whose GPU is not here.
WITHOUT_DEVICE = Proof(reasons=(NO_DEVICE,))


def verdict_on(comparison: Comparison, limits: Limits) -> tuple[Verdict, tuple[str, ...]]:
    """The verdict and its reasons."""
    broken = tuple(limits.broken_by(comparison))
    return (Verdict.FAILED if broken else Verdict.PASSED), broken
