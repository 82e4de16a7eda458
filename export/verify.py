"""The proof: an artefact's outputs over the whole test split, against its parent's, and a verdict in its manifest."""

from __future__ import annotations

from dataclasses import asdict, replace
from pathlib import Path

from export import artefact, manifest
from export.compare import Limits, compare
from export.predictors import OnnxPredictor
from training.checkpoint import load
from training.evaluate import score
from training.images import ImageSet, check_labels
from training.predictions import cached
from training.torch_predictor import TorchPredictor

#: What each precision must keep to. FP32 is held against PyTorch, the others against FP32.
LIMITS = {
    "fp32": Limits(max_abs_dp=1e-5, agreement=99.9),
    "fp16": Limits(max_abs_dp=5e-3, top1_loss=0.1),
    "int8": Limits(agreement=98.0, cosine=0.99, top1_loss=0.3),
}
DIGITS = 6


def verify(folder: Path, checkpoint: Path, images: ImageSet, cache: Path) -> manifest.Manifest:
    """Prove the artefact in ``folder`` and write the verdict into its manifest.

    Args:
        checkpoint: what it was made from; PyTorch's answers are the reference of FP32, and through it of all others.
        images: the test split, all of it.
        cache: where outputs over the split are kept, by the hash of what answered.

    Raises:
        manifest.ManifestError: no artefact, one that was changed, or one made from another checkpoint.
        training.images.DataError: the images are of other classes than the checkpoint's.
        ValueError: its outputs have other shapes than the reference's, or are not finite.
    """
    record = artefact.read(folder)
    precision = record.recipe["precision"]
    source = load(checkpoint)
    if record.recipe["checkpoint"] != source.sha256:
        raise manifest.ManifestError(f"{folder} was made from another checkpoint than {checkpoint}: export it again")
    check_labels(images, source.meta.labels, checkpoint)
    if precision == "fp32":
        reference, labels = cached(cache, source.sha256, TorchPredictor(source.model), images, "PyTorch")
    else:
        sibling = folder.parent / "fp32"
        sha256 = artefact.read(sibling).files[artefact.MODEL_FILE]
        if record.parent not in (source.sha256, sha256):
            raise manifest.ManifestError(f"{folder} was made from another graph than {sibling}: export it again")
        fp32 = OnnxPredictor(sibling / artefact.MODEL_FILE)
        reference, labels = cached(cache, sha256, fp32, images, "FP32 ONNX")
    judged = OnnxPredictor(folder / artefact.MODEL_FILE, literal=record.recipe.get("scheme") == "tensorrt")
    candidate, _ = cached(cache, record.files[artefact.MODEL_FILE], judged, images, folder.name)
    comparison = compare(reference, candidate)
    wanted = score(reference.probabilities, labels, images.labels)
    got = score(candidate.probabilities, labels, images.labels)
    limits = LIMITS[precision]
    broken = limits.broken_by(comparison, wanted.top1 - got.top1)
    proved = replace(
        record,
        accuracy={"top1": got.top1, "top5": got.top5, "images": got.images, "dataset": images.sha256},
        parity={
            **{
                name: round(value, DIGITS) if name != "max_abs_dp" else value
                for name, value in asdict(comparison).items()
            },
            "reference": "pytorch" if precision == "fp32" else "fp32",
            "top1_loss": round(wanted.top1 - got.top1, DIGITS),
            "limits": limits.as_dict(),
        },
        verdict="failed: " + "; ".join(broken) if broken else manifest.PASSED,
    )
    proved.write(folder)
    return proved
