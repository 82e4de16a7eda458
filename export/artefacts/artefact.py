"""The artefact: a folder with ``model.onnx`` or ``model.plan``, ``labels.txt``, and the manifest about them."""

from __future__ import annotations

import importlib.metadata
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any

from alexnet_client.contract import precision_model
from alexnet_client.files import atomic_path
from export.artefacts import manifest

MODEL_FILE = "model.onnx"
PLAN_FILE = "model.plan"
#: Beside a plan: its layers.
LAYERS_FILE = "layers.json"
#: Beside a plan that was never on its GPU: images and the FP32 graph's answers, to prove it where it is first loaded.
GOLDEN_FILE = "golden.npz"
#: Beside a plan without weights: the graph that has them.
WEIGHTS_FILE = "weights.onnx"
LABELS_FILE = "labels.txt"
UNPROVED = "unproved: run `python -m export verify`"
NO_DEVICE = "unproved: no device"


def create(
    folder: Path,
    write: Callable[[Path], None],
    *,
    files: Iterable[str] = (MODEL_FILE,),
    precision: str,
    labels: Iterable[str],
    parent: str,
    recipe: dict[str, Any],
    tools: Iterable[str],
    command: str,
    engine: dict[str, Any] | None = None,
    verdict: str = UNPROVED,
) -> manifest.Manifest:
    """Write an artefact into ``folder``. The manifest comes last: a folder without one holds nothing to use.

    Args:
        write: writes ``files``; it is given the path of the first.
        engine: for a plan, what the manifest records of it; ``write`` may fill it.

    Raises:
        OSError: a file could not be written; no manifest is there then.
    """
    folder.mkdir(parents=True, exist_ok=True)
    (folder / manifest.FILE_NAME).unlink(missing_ok=True)
    names = tuple(files)
    try:
        write(folder / names[0])
    except BaseException:
        if folder.is_dir() and not any(folder.iterdir()):
            folder.rmdir()
        raise
    with atomic_path(folder / LABELS_FILE) as partial:
        partial.write_text("".join(f"{label}\n" for label in labels))
    record = manifest.Manifest(
        model=precision_model(precision),
        files=manifest.hashes(folder, (*names, LABELS_FILE)),
        parent=parent,
        recipe={"precision": precision, **recipe},
        versions={tool: importlib.metadata.version(tool) for tool in tools},
        engine=engine or {},
        verdict=verdict,
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


def model_file(record: manifest.Manifest) -> str:
    """The name of the file that answers: the plan, or the graph."""
    return PLAN_FILE if record.engine else MODEL_FILE
