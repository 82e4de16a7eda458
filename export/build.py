"""The exporter's recipes: checkpoint -> one artefact of each precision, not proved yet."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from export import artefact, manifest
from export.graph import OPSET, write_onnx
from export.quantize import SCHEMES, quantize
from training.checkpoint import load
from training.images import batches, open_split

CALIBRATION_IMAGES = 512
MINIMUM_CALIBRATION = 500
CALIBRATION_BATCH = 32
TOOLS = ("torch", "onnx", "onnxscript")


def folder_name(precision: str, scheme: str | None = None) -> str:
    """``fp32``, ``fp16``, ``int8-cpu`` or ``int8-tensorrt``."""
    return f"{precision}-{scheme}" if scheme else precision


def build_float(checkpoint: Path, output: Path, precision: str) -> manifest.Manifest:
    """Write ``output/fp32`` or ``output/fp16`` from a checkpoint.

    Raises:
        ValueError: ``checkpoint`` is none.
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


def build_int8(data: Path, output: Path, scheme: str, images: int = CALIBRATION_IMAGES) -> manifest.Manifest:
    """Write ``output/int8-<scheme>`` from ``output/fp32``, calibrated on ``images`` training images.

    The images are spread evenly over the training split, so every class of a sorted split has its share. Their pixels'
    SHA-256 goes into the manifest.

    Raises:
        ValueError: too few calibration images, or a training split without enough.
        manifest.ManifestError: ``output/fp32`` is missing or changed.
        OSError: a file could not be written.
    """
    parent = output / folder_name("fp32")
    fp32 = artefact.read(parent)
    split = open_split(data, "train")
    if not MINIMUM_CALIBRATION <= images <= len(split):
        raise ValueError(
            f"got {images} calibration images: want at least {MINIMUM_CALIBRATION}, and {data} has {len(split)}"
        )
    chosen = np.linspace(0, len(split) - 1, images).astype(int)
    digest = hashlib.sha256()

    def pixels() -> Iterator[NDArray[np.uint8]]:
        for batch, _ in batches(split, CALIBRATION_BATCH, indices=chosen, description="calibrate"):
            digest.update(batch.tobytes())
            yield batch

    def write(path: Path) -> None:
        quantize(parent / artefact.MODEL_FILE, path, SCHEMES[scheme], pixels())
        recipe["calibration"]["pixels_sha256"] = digest.hexdigest()

    recipe = {
        "checkpoint": fp32.recipe["checkpoint"],
        "scheme": scheme,
        "calibration": {"method": "minmax", "images": images, "dataset": split.sha256},
    }
    return artefact.create(
        output / folder_name("int8", scheme),
        write,
        precision="int8",
        labels=(parent / artefact.LABELS_FILE).read_text().splitlines(),
        parent=fp32.files[artefact.MODEL_FILE],
        recipe=recipe,
        tools=("onnx", "onnxruntime"),
        command=f"python -m export int8 --scheme {scheme} --data {data} --output {output} --images {images}",
    )
