"""The artefact: a folder with ``model.onnx`` or ``model.plan``, ``labels.txt``, and the manifest about them."""

from __future__ import annotations

import importlib.metadata
import os
import shutil
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path

from alexnet_client.contract import precision_model
from alexnet_client.files import file_errors, sync
from export.artefacts import manifest
from export.artefacts.manifest import Engine, Manifest, Recipe
from export.proof.proof import Proof

MODEL_FILE = "model.onnx"
PLAN_FILE = "model.plan"
#: Beside a plan: its layers.
LAYERS_FILE = "layers.json"
#: Images and the FP32 graph's answers, to prove an engine where it is first loaded and to probe what serves.
GOLDEN_FILE = "golden.npz"
#: Beside a plan without weights: the graph that has them.
WEIGHTS_FILE = "weights.onnx"
LABELS_FILE = "labels.txt"


@dataclass(frozen=True, slots=True)
class Draft:
    """An artefact in the making: a folder beside its place, which nobody takes for one."""

    path: Path
    _place: Path

    def keep(self, *names: str) -> None:
        """Take files over from the artefact that is in its place now; a link, so nothing is copied."""
        for name in names:
            os.link(self._place / name, self.path / name)

    def labels(self, labels: Iterable[str]) -> None:
        """Write the classes' names."""
        (self.path / LABELS_FILE).write_text("".join(f"{label}\n" for label in labels))

    def seal(
        self,
        recipe: Recipe,
        *,
        checkpoint: str,
        parent: str,
        tools: Iterable[str],
        command: str,
        engine: Engine | None = None,
        proof: Proof | None = None,
    ) -> Manifest:
        """Hash every file that was written and record how it was made. The manifest comes last."""
        return self.sealed_as(
            Manifest(
                model=precision_model(recipe.precision),
                files={},
                recipe=recipe,
                checkpoint=checkpoint,
                parent=parent,
                engine=engine,
                versions={tool: importlib.metadata.version(tool) for tool in tools},
                proof=proof or Proof(),
                command=command,
            )
        )

    def sealed_as(self, record: Manifest) -> Manifest:
        """Hash every file and write ``record`` about them."""
        record = replace(record, files=manifest.hashes(self.path, manifest.present_files(self.path)))
        record.write(self.path)
        return record


@contextmanager
def begin(folder: Path) -> Iterator[Draft]:
    """Make an artefact: files are written into the draft, and when it was sealed it takes its place, ``folder``.

    What was there before stays until then. A block that raises, or does not seal, leaves nothing.

    Raises:
        FileError: a file could not be written.
    """
    draft = Draft(folder.with_name(f".{folder.name}.partial"), folder)
    old = folder.with_name(f".{folder.name}.old")
    with file_errors(folder):
        for leftover in (draft.path, old):
            shutil.rmtree(leftover, ignore_errors=True)
        draft.path.mkdir(parents=True)
        try:
            yield draft
            if not (draft.path / manifest.FILE_NAME).is_file():
                return
            for path in draft.path.iterdir():
                sync(path)
            if folder.exists():
                folder.rename(old)
            draft.path.rename(folder)
            sync(folder.parent)
        finally:
            shutil.rmtree(draft.path, ignore_errors=True)
            shutil.rmtree(old, ignore_errors=True)


def read(folder: Path) -> Manifest:
    """Read an artefact's manifest and check its files.

    Raises:
        manifest.ManifestError: there is none, or a file is missing, strange or changed.
    """
    record = manifest.read(folder)
    record.check(folder)
    return record


def read_labels(folder: Path) -> list[str]:
    """The classes' names, in order.

    Raises:
        FileError: there are none.
    """
    with file_errors(folder):
        return (folder / LABELS_FILE).read_text().splitlines()


def model_file(record: Manifest) -> str:
    """The name of the file that answers: the plan, or the graph."""
    return PLAN_FILE if record.engine else MODEL_FILE


def all_in(folder: Path) -> dict[str, Manifest]:
    """Every artefact in a folder of artefacts, by name; those that cannot be read are left out."""
    found = {}
    for path in sorted(folder.glob(f"*/{manifest.FILE_NAME}")):
        if not path.parent.name.startswith("."):
            try:
                found[path.parent.name] = manifest.read(path.parent)
            except manifest.ManifestError:
                continue
    return found
