"""The artefact: a folder with ``model.onnx``, ``labels.txt`` and the manifest that says what they are."""

from __future__ import annotations

import importlib.metadata
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any

from alexnet_client.contract import precision_model
from export import manifest
from training.atomic import atomic_path

MODEL_FILE = "model.onnx"
LABELS_FILE = "labels.txt"
UNPROVED = "unproved: run `python -m export verify`"


def create(
    folder: Path,
    write_model: Callable[[Path], None],
    *,
    precision: str,
    labels: Iterable[str],
    parent: str,
    recipe: dict[str, Any],
    tools: Iterable[str],
    command: str,
) -> manifest.Manifest:
    """Write an artefact into ``folder``. The manifest comes last: a folder without one holds nothing to use.

    Raises:
        OSError: a file could not be written; no manifest is there then.
    """
    folder.mkdir(parents=True, exist_ok=True)
    (folder / manifest.FILE_NAME).unlink(missing_ok=True)
    write_model(folder / MODEL_FILE)
    with atomic_path(folder / LABELS_FILE) as partial:
        partial.write_text("".join(f"{label}\n" for label in labels))
    record = manifest.Manifest(
        model=precision_model(precision),
        files=manifest.hashes(folder, (MODEL_FILE, LABELS_FILE)),
        parent=parent,
        recipe={"precision": precision, **recipe},
        versions={tool: importlib.metadata.version(tool) for tool in tools},
        verdict=UNPROVED,
        command=command,
    )
    record.write(folder)
    return record


def read(folder: Path) -> manifest.Manifest:
    """Read an artefact's manifest and check its files.

    Raises:
        manifest.ManifestError: there is none, or a file is missing or changed.
    """
    record = manifest.read(folder)
    record.check(folder)
    return record
