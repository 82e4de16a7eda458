"""Artefacts made by hand, for tests of what is done with them."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

from export.artefacts import artefact, manifest
from export.artefacts.manifest import Engine, Manifest, Recipe
from export.proof.proof import WITHOUT_DEVICE, Proof, Verdict

LABELS = ["cat", "dog", "owl"]
CHECKPOINT = "c0ffee"
PASSED = Proof(Verdict.PASSED, ())


def make_artefact(
    folder: Path,
    precision: str,
    content: bytes | Callable[[Path], object],
    checkpoint: str = CHECKPOINT,
    parent: str | None = None,
    proof: Proof = PASSED,
    scheme: str | None = None,
) -> Path:
    """A graph, of these bytes or written by a function."""
    with artefact.begin(folder) as draft:
        path = draft.path / artefact.MODEL_FILE
        path.write_bytes(content) if isinstance(content, bytes) else content(path)
        draft.labels(LABELS)
        draft.seal(
            Recipe(precision, scheme=scheme),
            checkpoint=checkpoint,
            parent=parent or checkpoint,
            tools=["onnx"],
            command="",
            proof=proof,
        )
    return folder


def make_pair(root: Path) -> list[Path]:
    """What the ``cpu`` target publishes."""
    return [
        make_artefact(root / "fp32", "fp32", b"full precision"),
        make_artefact(root / "int8-cpu", "int8", b"eight bits"),
    ]


def make_engine(
    folder: Path, capability: str, parent: str = CHECKPOINT, *, portable: bool = False, precision: str = "int8"
) -> Path:
    """A plan for a GPU that is not here."""
    options = {"hardware_compatible": portable, "version_compatible": False}
    with artefact.begin(folder) as draft:
        (draft.path / artefact.PLAN_FILE).write_bytes(f"plan for {capability}".encode())
        (draft.path / artefact.GOLDEN_FILE).write_bytes(b"golden")
        draft.labels(LABELS)
        draft.seal(
            Recipe(precision, scheme="tensorrt" if precision == "int8" else None),
            checkpoint=CHECKPOINT,
            parent=parent,
            tools=["onnx"],
            command="",
            engine=Engine("tensorrt_rtx", "1.7", capability, options, "0" * 64),
            proof=WITHOUT_DEVICE,
        )
    return folder


def change(folder: Path, **values: object) -> Manifest:
    """Write an artefact's manifest anew, with other values; its files are hashed again."""
    record = manifest.read(folder)
    files = manifest.hashes(folder, manifest.present_files(folder))
    record = replace(record, **{"files": files, **values})
    record.write(folder)
    return record
