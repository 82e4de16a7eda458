"""The exporter's recipes: checkpoint -> one artefact of each precision, not proved yet."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from export.artefacts import artefact, manifest
from export.artefacts.manifest import Calibration, Recipe
from export.graphs import fp8_onnx
from export.graphs.float_onnx import OPSET, write_onnx
from export.graphs.int8_onnx import SCHEMES, quantize
from export.proof.limits import CALIBRATION_IMAGES, FEWEST_CALIBRATION_IMAGES
from training.checkpoint import load
from training.data.batches import batches
from training.data.image_set import DataError
from training.data.open import open_split

CALIBRATION_BATCH = 32
TOOLS = ("torch", "onnx", "onnxscript")


def folder_name(precision: str, scheme: str | None = None, method: str | None = None) -> str:
    """``fp32``, ``fp16``, ``int8-cpu``, ``int8-tensorrt``; ``int8-cpu-mse`` for another method than the scheme's."""
    named = method if scheme and method != SCHEMES[scheme].method else None
    return "-".join(part for part in (precision, scheme, named) if part)


def build_float(checkpoint: Path, output: Path, precision: str) -> manifest.Manifest:
    """Write ``output/fp32`` or ``output/fp16`` from a checkpoint.

    Raises:
        training.checkpoint.CheckpointError: ``checkpoint`` is none.
        FileError: a file could not be written; what was there stays.
    """
    source = load(checkpoint)
    with artefact.begin(output / folder_name(precision)) as draft:
        write_onnx(source.model, draft.path / artefact.MODEL_FILE, half=precision == "fp16")
        draft.labels(source.meta.labels)
        return draft.seal(
            Recipe(precision, opset=OPSET),
            checkpoint=source.sha256,
            parent=source.sha256,
            tools=TOOLS,
            command=f"python -m export {precision} --checkpoint {checkpoint} --output {output}",
        )


def build_int8(
    data: Path, output: Path, scheme: str, images: int = CALIBRATION_IMAGES, method: str | None = None
) -> manifest.Manifest:
    """Write ``output/int8-<scheme>`` from ``output/fp32``, calibrated on ``images`` training images, or all there are.

    With another ``method`` than the scheme's own, the folder is named after it as well.

    Raises:
        training.data.image_set.DataError: too few calibration images.
        manifest.ManifestError: ``output/fp32`` is missing or changed.
        FileError: a file could not be written; what was there stays.
    """
    method = method or SCHEMES[scheme].method
    how = f"int8 --scheme {scheme} --method {method}"
    quantised = _Quantised(output / folder_name("int8", scheme, method), Recipe("int8", scheme=scheme), method, how)
    return _build_quantised(data, output, images, quantised, partial(quantize, scheme=SCHEMES[scheme], method=method))


def build_fp8(data: Path, output: Path, images: int = CALIBRATION_IMAGES) -> manifest.Manifest:
    """Write ``output/fp8`` from ``output/fp32``, calibrated on ``images`` training images, or all there are.

    Raises:
        training.data.image_set.DataError: as of :func:`build_int8`.
        manifest.ManifestError: ``output/fp32`` is missing or changed.
        FileError: a file could not be written; what was there stays.
    """
    quantised = _Quantised(output / folder_name("fp8"), Recipe("fp8"), fp8_onnx.METHOD, "fp8")
    return _build_quantised(data, output, images, quantised, fp8_onnx.quantize_fp8)


@dataclass(frozen=True, slots=True)
class _Quantised:
    """What is to be made of the FP32 graph."""

    folder: Path
    recipe: Recipe
    #: Of calibration.
    method: str
    #: Arguments of ``python -m export``.
    command: str


def _build_quantised(
    data: Path, output: Path, images: int, wanted: _Quantised, write: Callable[..., None]
) -> manifest.Manifest:
    """Make an artefact of ``output/fp32`` by ``write(source, target, batches=batches of calibration images)``.

    The images are spread evenly over the training split, so every class of a sorted split has its share. Their pixels'
    SHA-256 goes into the manifest.
    """
    parent = output / folder_name("fp32")
    fp32 = artefact.read(parent)
    split = open_split(data, "train")
    taken = min(images, len(split))
    if taken < FEWEST_CALIBRATION_IMAGES:
        raise DataError(
            f"got {taken} calibration images ({data} has {len(split)}, --images is {images}): want at least "
            f"{FEWEST_CALIBRATION_IMAGES}, or FP32 alone: `python -m export publish --precision fp32`"
        )
    chosen = np.linspace(0, len(split) - 1, taken).astype(int)
    digest = hashlib.sha256()

    def pixels() -> Iterator[NDArray[np.uint8]]:
        for batch, _ in batches(split, CALIBRATION_BATCH, indices=chosen, description="calibrate"):
            digest.update(batch.tobytes())
            yield batch

    with artefact.begin(wanted.folder) as draft:
        write(parent / artefact.MODEL_FILE, draft.path / artefact.MODEL_FILE, batches=pixels())
        draft.labels(artefact.read_labels(parent))
        return draft.seal(
            replace(
                wanted.recipe,
                calibration=Calibration(wanted.method, taken, split.sha256, digest.hexdigest()),
            ),
            checkpoint=fp32.checkpoint,
            parent=fp32.files[artefact.MODEL_FILE],
            tools=("onnx", "onnxruntime"),
            command=f"python -m export {wanted.command} --images {images} --data {data} --output {output}",
        )
