"""The exporter's recipes: checkpoint -> one artefact of each precision, not proved yet."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from export.artefacts import artefact, manifest
from export.graphs import fp8_onnx as fp8
from export.graphs.float_onnx import OPSET, write_onnx
from export.graphs.int8_onnx import SCHEMES, quantize
from training.checkpoint import load
from training.data.batches import batches
from training.data.image_set import DataError
from training.data.open import open_split

CALIBRATION_IMAGES = 512
MINIMUM_CALIBRATION = 500
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
        OSError: a file could not be written.
    """
    source = load(checkpoint)
    return artefact.create(
        output / folder_name(precision),
        lambda path: write_onnx(source.model, path, half=precision == "fp16"),
        precision=precision,
        labels=source.meta.labels,
        parent=source.sha256,
        recipe={"checkpoint": source.sha256, "opset": OPSET},
        tools=TOOLS,
        command=f"python -m export {precision} --checkpoint {checkpoint} --output {output}",
    )


def build_int8(
    data: Path, output: Path, scheme: str, images: int = CALIBRATION_IMAGES, method: str | None = None
) -> manifest.Manifest:
    """Write ``output/int8-<scheme>`` from ``output/fp32``, calibrated on ``images`` training images.

    With another ``method`` than the scheme's own, the folder is named after it as well.

    Raises:
        training.data.image_set.DataError: too few calibration images, or a training split without enough.
        manifest.ManifestError: ``output/fp32`` is missing or changed.
        OSError: a file could not be written.
    """
    method = method or SCHEMES[scheme].method
    return _build_quantised(
        data,
        output,
        images,
        method,
        precision="int8",
        folder=folder_name("int8", scheme, method),
        recipe={"scheme": scheme},
        command=f"int8 --scheme {scheme} --method {method}",
        write=lambda source, path, pixels: quantize(source, path, SCHEMES[scheme], pixels, method),
    )


def build_fp8(data: Path, output: Path, images: int = CALIBRATION_IMAGES) -> manifest.Manifest:
    """Write ``output/fp8`` from ``output/fp32``, calibrated on ``images`` training images.

    Raises:
        training.data.image_set.DataError: as of :func:`build_int8`.
        manifest.ManifestError: ``output/fp32`` is missing or changed.
        OSError: a file could not be written.
    """
    return _build_quantised(
        data,
        output,
        images,
        fp8.METHOD,
        precision="fp8",
        folder=folder_name("fp8"),
        recipe={},
        command="fp8",
        write=fp8.quantize_fp8,
    )


def _build_quantised(
    data: Path,
    output: Path,
    images: int,
    method: str,
    *,
    precision: str,
    folder: str,
    recipe: dict[str, Any],
    command: str,
    write: Callable[[Path, Path, Iterator[NDArray[np.uint8]]], None],
) -> manifest.Manifest:
    """Write an artefact from ``output/fp32`` by ``write(source, target, batches of calibration images)``.

    The images are spread evenly over the training split, so every class of a sorted split has its share. Their pixels'
    SHA-256 goes into the manifest.
    """
    parent = output / folder_name("fp32")
    fp32 = artefact.read(parent)
    split = open_split(data, "train")
    if not MINIMUM_CALIBRATION <= images <= len(split):
        raise DataError(
            f"got {images} calibration images: want at least {MINIMUM_CALIBRATION}, and {data} has {len(split)}"
        )
    chosen = np.linspace(0, len(split) - 1, images).astype(int)
    digest = hashlib.sha256()
    calibration = {"method": method, "images": images, "dataset": split.sha256}

    def pixels() -> Iterator[NDArray[np.uint8]]:
        for batch, _ in batches(split, CALIBRATION_BATCH, indices=chosen, description="calibrate"):
            digest.update(batch.tobytes())
            yield batch

    def written(path: Path) -> None:
        write(parent / artefact.MODEL_FILE, path, pixels())
        calibration["pixels_sha256"] = digest.hexdigest()

    return artefact.create(
        output / folder,
        written,
        precision=precision,
        labels=(parent / artefact.LABELS_FILE).read_text().splitlines(),
        parent=fp32.files[artefact.MODEL_FILE],
        recipe={"checkpoint": fp32.recipe["checkpoint"], **recipe, "calibration": calibration},
        tools=("onnx", "onnxruntime"),
        command=f"python -m export {command} --images {images} --data {data} --output {output}",
    )
