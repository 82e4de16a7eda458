"""The proof: an artefact's outputs over the whole test split, against its parent's, and a verdict in its manifest."""

from __future__ import annotations

from dataclasses import asdict, replace
from pathlib import Path

import numpy as np

from alexnet_client.outputs import Outputs
from export.artefacts import artefact, manifest
from export.engines.gpu import installed
from export.proof import golden
from export.proof.compare import compare
from export.proof.limits import limits
from export.runtimes.onnx import OnnxPredictor
from training.checkpoint import load
from training.data.batches import batches
from training.data.image_set import ImageSet, check_labels
from training.evaluate import score
from training.predictions import cached
from training.torch_predictor import TorchPredictor

DIGITS = 6


def verify(folder: Path, checkpoint: Path, images: ImageSet, cache: Path) -> manifest.Manifest:
    """Prove the artefact in ``folder`` and write the verdict into its manifest.

    An engine whose GPU is not here stays unproved; it is given the golden batch, by which it is proved where it is
    first loaded.

    Args:
        checkpoint: what it was made from; PyTorch's answers are the reference of FP32, and through it of all others.
        images: the test split, all of it.
        cache: where outputs over the split are kept, by the hash of what answered.

    Raises:
        manifest.ManifestError: no artefact, one that was changed, or one made from another checkpoint.
        training.data.image_set.DataError: the images are of other classes than the checkpoint's.
        export.proof.compare.ComparisonError: its outputs have other shapes than the reference's, or are not finite.
        export.runtimes.engine.RuntimeFailure: its GPU is here, and it does not run on it.
    """
    record = artefact.read(folder)
    source = load(checkpoint)
    if record.recipe["checkpoint"] != source.sha256:
        raise manifest.ManifestError(f"{folder} was made from another checkpoint than {checkpoint}: export it again")
    check_labels(images, source.meta.labels, checkpoint)
    if record.recipe["precision"] == "fp32" and not record.engine:
        reference, labels = cached(cache, source.sha256, TorchPredictor(source.model), images, "PyTorch")
    else:
        sibling = folder.parent / "fp32"
        sha256 = artefact.read(sibling).files[artefact.MODEL_FILE]
        if not record.engine and record.parent not in (source.sha256, sha256):
            raise manifest.ManifestError(f"{folder} was made from another graph than {sibling}: export it again")
        reference, labels = cached(cache, sha256, OnnxPredictor(sibling / artefact.MODEL_FILE), images, "FP32 ONNX")
    gpu = installed()
    if record.engine and (gpu is None or gpu.capability != record.engine["capability"]):
        left = replace(record, verdict=artefact.NO_DEVICE)
        left.write(folder)
        return left
    candidate = _answers(folder, record, images, cache)
    if not record.engine and record.recipe.get("scheme") != "cpu":
        fp32 = candidate if record.recipe["precision"] == "fp32" else reference
        record = _write_golden(folder, record, images, fp32)
    comparison = compare(reference, candidate)
    wanted = score(reference.probabilities, labels, images.labels)
    got = score(candidate.probabilities, labels, images.labels)
    kept = limits(record)
    broken = kept.broken_by(comparison, wanted.top1 - got.top1)
    proved = replace(
        record,
        accuracy={"top1": got.top1, "top5": got.top5, "images": got.images, "dataset": images.sha256},
        parity={
            **{
                name: round(value, DIGITS) if name != "max_abs_dp" else value
                for name, value in asdict(comparison).items()
            },
            "reference": "fp32" if record.engine or record.recipe["precision"] != "fp32" else "pytorch",
            "top1_loss": round(wanted.top1 - got.top1, DIGITS),
            "limits": kept.as_dict(),
        },
        verdict="failed: " + "; ".join(broken) if broken else manifest.PASSED,
    )
    proved.write(folder)
    return proved


def _answers(folder: Path, record: manifest.Manifest, images: ImageSet, cache: Path) -> Outputs:
    path = folder / artefact.model_file(record)
    key = record.files[path.name]
    if not record.engine:
        # A graph for other hardware is judged by its numbers and not by this CPU's kernels.
        judged = OnnxPredictor(
            path, literal=record.recipe.get("scheme") == "tensorrt" or record.recipe["precision"] == "fp8"
        )
        return cached(cache, key, judged, images, folder.name)[0]
    from export.engines.provider import find  # noqa: PLC0415  only where there is a GPU
    from export.runtimes.engine import EngineRunner  # noqa: PLC0415

    weights = folder / artefact.WEIGHTS_FILE
    with EngineRunner(find(record.engine["provider"]), path, weights if weights.is_file() else None) as runner:
        return cached(cache, key, runner, images, folder.name, runner.largest)[0]


def _write_golden(folder: Path, record: manifest.Manifest, images: ImageSet, reference: Outputs) -> manifest.Manifest:
    """Leave the batch beside the graph that proves its engines, wherever they are built."""
    chosen = np.linspace(0, len(images) - 1, min(golden.IMAGES, len(images))).astype(int)
    ((pixels, _),) = batches(images, len(chosen), indices=chosen, description=f"{folder.name} golden batch")
    golden.write(folder / artefact.GOLDEN_FILE, pixels, Outputs(*(part[chosen] for part in reference)))
    return replace(record, files=manifest.hashes(folder, sorted({*record.files, artefact.GOLDEN_FILE})))
