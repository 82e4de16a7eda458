"""The proof of an artefact: its outputs over a whole split, against its reference's, and a verdict in its manifest."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from alexnet_client.fingerprint import preprocessing_fingerprint
from alexnet_client.outputs import Identity, Outputs
from export.artefacts import artefact
from export.artefacts.manifest import Manifest, ManifestError
from export.engines.gpu import installed
from export.proof import golden
from export.proof.compare import FEW, check_checksum, compare
from export.proof.limits import CALIBRATION_IMAGES, limits
from export.proof.lineage import check_ancestors, check_proved, is_literal
from export.proof.proof import WITHOUT_DEVICE, Accuracy, Data, Proof, verdict_on
from export.runtimes.onnx import OnnxRuntime
from export.runtimes.runtime import Runtime
from training.checkpoint import Checkpoint, load
from training.data.batches import batches
from training.data.image_set import ImageSet
from training.data.labels import labelled_as
from training.evaluate import score
from training.predictions import cached, predict_key
from training.torch_predictor import TorchPredictor


@dataclass(frozen=True, slots=True)
class Answers:
    """What one runtime answered for a whole split."""

    outputs: Outputs
    #: ``int64[N]``; None where the pictures have no labels.
    targets: NDArray[np.int64] | None
    identity: Identity


def verify(folder: Path, checkpoint: Path, images: ImageSet, cache: Path) -> Manifest:
    """Prove the artefact in ``folder`` and write the verdict into its manifest.

    An engine whose GPU is not here stays unproved; it is given the golden batch, by which it is proved where it is
    first loaded.

    Args:
        checkpoint: what it was made from; PyTorch's answers are the reference of FP32, and through it of all others.
        images: the test split, all of it; or pictures without labels, and then accuracy is not measured.
        cache: where outputs over the split are kept, by what answered and by the preprocessing.

    Raises:
        ManifestError: no artefact, one that was changed, or made from another checkpoint, or from a graph that is not
            there or not proved.
        training.data.image_set.DataError: the images are of other classes than the checkpoint's.
        export.proof.compare.ComparisonError: its outputs have other shapes than the reference's, or are not finite.
        export.runtimes.runtime.RuntimeFailure: its GPU is here, and it does not run on it.
    """
    record = artefact.read(folder)
    source = load(checkpoint)
    if record.checkpoint != source.sha256:
        raise ManifestError(f"{folder} was made from another checkpoint than {checkpoint}: export it again")
    if images.labels:
        images = labelled_as(images, source.meta.labels, checkpoint)
    check_ancestors(str(folder), record, [folder.parent])
    gpu = installed()
    if record.engine and (gpu is None or gpu.capability != record.engine.capability):
        left = replace(record, proof=WITHOUT_DEVICE)
        left.write(folder)
        return left
    reference = _reference(folder, record, source, images, cache)
    with _runtime(folder, record) as runtime:
        candidate = _answers(runtime, images, cache, folder.name)
        ((few, _),) = batches(
            images, FEW, indices=np.arange(min(FEW, len(images))), description=f"{folder.name} checksum"
        )
        check_checksum(runtime, few)
    if not record.engine:
        fp32 = candidate if record.kind == "fp32" else reference
        record = _with_golden(folder, record, images, fp32.outputs, golden.Population.of(candidate.outputs))
    proved = replace(record, proof=_prove(record, reference, candidate, images))
    proved.write(folder)
    return proved


def _reference(folder: Path, record: Manifest, source: Checkpoint, images: ImageSet, cache: Path) -> Answers:
    """PyTorch's answers for the FP32 graph, and that graph's, proved, for all others."""
    if record.kind == "fp32" and not record.engine:
        return _answers(TorchPredictor(source.model, source.sha256), images, cache, "PyTorch")
    for name, other in artefact.all_in(folder.parent).items():
        if other.recipe and other.kind == "fp32" and not other.engine and other.checkpoint == record.checkpoint:
            check_proved(f"{folder} is held against {folder.parent / name}, which", other)
            with _runtime(folder.parent / name, artefact.read(folder.parent / name)) as runtime:
                return _answers(runtime, images, cache, "FP32 ONNX")
    raise ManifestError(f"there is no FP32 graph of the same checkpoint in {folder.parent}: `python -m export fp32`")


@contextmanager
def _runtime(folder: Path, record: Manifest) -> Iterator[Runtime]:
    path = folder / artefact.model_file(record)
    if record.engine is None:
        yield OnnxRuntime(path, literal=is_literal(record))
        return
    from export.engines.provider import find  # noqa: PLC0415  only where there is a GPU
    from export.runtimes.engine import EngineRuntime  # noqa: PLC0415

    weights = folder / artefact.WEIGHTS_FILE
    with EngineRuntime(find(record.engine.provider), path, weights if weights.is_file() else None) as runtime:
        yield runtime


def _answers(runtime: Runtime | TorchPredictor, images: ImageSet, cache: Path, name: str) -> Answers:
    outputs, targets = cached(cache, predict_key(runtime.identity), runtime, images, name)
    return Answers(outputs, targets if images.labels else None, runtime.identity)


def _prove(record: Manifest, reference: Answers, candidate: Answers, images: ImageSet) -> Proof:
    comparison = compare(reference.outputs, candidate.outputs, candidate.targets)
    kept = limits(record)
    verdict, reasons = verdict_on(comparison, kept)
    accuracy = None
    if candidate.targets is not None:
        got = score(candidate.outputs.probabilities, candidate.targets, images.labels)
        accuracy = Accuracy(got.top1, got.top5)
    return Proof(
        verdict=verdict,
        reasons=reasons,
        runtime=candidate.identity,
        reference=reference.identity,
        preprocessing=preprocessing_fingerprint(),
        data=Data(images.name, images.sha256, len(images)),
        comparison=comparison,
        limits=kept,
        accuracy=accuracy,
        checks=_checks(record),
    )


def _checks(record: Manifest) -> tuple[str, ...]:
    calibration = record.recipe.calibration if record.recipe else None
    if calibration is None or calibration.images >= CALIBRATION_IMAGES:
        return ()
    return (f"calibrated on {calibration.images:,} images, fewer than the {CALIBRATION_IMAGES:,} that are wanted",)


def _with_golden(
    folder: Path, record: Manifest, images: ImageSet, reference: Outputs, population: golden.Population
) -> Manifest:
    """Leave the batch beside the graph: it proves its engines, wherever they are built, and judges what serves."""
    chosen = np.linspace(0, len(images) - 1, min(golden.IMAGES, len(images))).astype(int)
    ((pixels, _),) = batches(images, len(chosen), indices=chosen, description=f"{folder.name} golden batch")
    batch = Outputs(*(part[chosen] for part in reference))
    if golden.is_there(folder / artefact.GOLDEN_FILE, pixels, batch, population):
        return record
    with artefact.begin(folder) as draft:
        draft.keep(*(name for name in record.files if name != artefact.GOLDEN_FILE))
        golden.write(draft.path / artefact.GOLDEN_FILE, pixels, batch, population)
        return draft.sealed_as(record)
