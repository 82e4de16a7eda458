"""Artefacts made by hand, for tests of what is done with them."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

from export.artefacts import artefact, manifest

LABELS = ["cat", "dog", "owl"]


def make_artefact(folder: Path, precision: str, content: bytes, checkpoint: str = "c0ffee") -> Path:
    record = artefact.create(
        folder,
        lambda path: path.write_bytes(content),
        precision=precision,
        labels=LABELS,
        parent=checkpoint,
        recipe={"checkpoint": checkpoint},
        tools=["onnx"],
        command="",
    )
    replace(record, verdict=manifest.PASSED).write(folder)
    return folder
