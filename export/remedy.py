"""The remedy: which commands come next where an artefact is missing or has failed its proof."""

from __future__ import annotations

from pathlib import Path

from export.artefacts.manifest import Manifest
from export.proof.limits import CALIBRATION_IMAGES

#: Precision -> the artefact that the ``cpu`` target publishes of it.
ON_CPU = {"fp32": "fp32", "fp16": "fp16", "int8": "int8-cpu", "fp8": "fp8"}


def to_make(name: str) -> str:
    """The command that makes the artefact called ``name``: ``fp32``, ``int8-cpu-mse``, ``fp16-sm89``."""
    precision, *parts = name.split("-")
    if parts and parts[-1].startswith("sm"):
        return f"python -m export engine {'-'.join([precision, *parts[:-1]])} --gpu {parts[-1]}"
    options = "".join(f" --{option} {part}" for option, part in zip(("scheme", "method"), parts, strict=False))
    return f"python -m export {precision}{options}"


def of_missing(name: str, precision: str) -> str:
    """What to do where there is no artefact ``name`` to be published, with ``precision`` behind the ensemble."""
    made = f"`{to_make(name)}` makes it and `python -m export verify {name}` proves it"
    if name == ON_CPU["fp32"] or precision == "fp32":
        return made
    return f"{made}; `python -m export publish --precision fp32` publishes without it"


def of_failed(record: Manifest, data: Path) -> list[str]:
    """What to do about an artefact that did not keep to its limits on ``data``, a line each."""
    calibration = record.recipe.calibration if record.recipe else None
    if record.engine or record.precision == "fp32":
        return [f"make it again: `{record.command}`"]
    remedies = []
    if record.recipe and record.recipe.scheme:
        scheme = record.recipe.scheme
        remedies.append(
            f"another method: `python -m export calibrate --scheme {scheme} --data {data}` compares them, "
            f"`python -m export publish fp32 int8-{scheme}-METHOD` takes one"
        )
    if calibration:
        remedies.append(
            "FP16: `python -m export fp16`, "
            f"`python -m export verify fp16 --data {data}`, `python -m export publish --precision fp16`"
        )
    remedies.append("FP32: `python -m export publish --precision fp32`")
    if calibration:
        images = record.proof.data.images if record.proof.data else 0
        remedies.append(
            f"more images: it was calibrated on {calibration.images:,} of {CALIBRATION_IMAGES:,}, "
            f"and each of the {images:,} that it was proved on weighs {100 / max(images, 1):.2g} %"
        )
    return remedies
