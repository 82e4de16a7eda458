"""Lineage: a proof rests on the proofs of what its artefact was made from, by hash, up to the checkpoint."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path

from alexnet_client.fingerprint import preprocessing_fingerprint
from export.artefacts import artefact
from export.artefacts.manifest import Manifest, ManifestError
from export.runtimes import onnx

#: Quantised for TensorRT: judged by its numbers, and not by this CPU's kernels.
LITERAL_SCHEME = "tensorrt"


def is_literal(record: Manifest) -> bool:
    """Whether a graph is proved with every node run as it is written."""
    return record.recipe is not None and record.recipe.scheme == LITERAL_SCHEME


def stale(record: Manifest, *, serves: bool = False) -> list[str]:
    """Why a proof says nothing about today: a sentence for each thing that has changed since; none when it holds.

    Args:
        serves: hold it against the runtime as it serves, and not as it proves.
    """
    proof = record.proof
    changes = []
    if proof.runtime is not None and proof.runtime.name == "onnxruntime":
        literal = is_literal(record) and not serves
        changes += proof.runtime.changes(onnx.identity_of(record.files[artefact.MODEL_FILE], literal=literal))
    if proof.preprocessing and proof.preprocessing != preprocessing_fingerprint():
        changes.append("the preprocessing has changed")
    return changes


def check_proved(name: str, record: Manifest, *, serves: bool = False) -> None:
    """Check that an artefact's verdict is ``passed``, and still holds.

    Args:
        name: what the error calls it.
        serves: as of :func:`stale`.

    Raises:
        ManifestError: it is not; says why and what to do.
    """
    if not record.proof.passed:
        raise ManifestError(f"{name} is not proved, its verdict is «{record.proof}»: verify it first")
    if changes := stale(record, serves=serves):
        raise ManifestError(
            f"{name} was proved under other conditions ({'; '.join(changes)}): verify it again, or serve it where "
            "it was proved"
        )


def find_graph(sha256: str, near: Iterable[Path]) -> tuple[Path, Manifest] | None:
    """The artefact whose graph has that SHA-256, in one of the folders of artefacts ``near``."""
    for root in dict.fromkeys(near):
        for name, record in artefact.all_in(root).items():
            if record.files.get(artefact.MODEL_FILE) == sha256 and not record.engine:
                return root / name, record
    return None


def check_ancestors(name: str, record: Manifest, near: Iterable[Path]) -> None:
    """Check that everything which a proof rests on is proved: the parent, the reference, theirs, up to the checkpoint.

    Args:
        near: folders of artefacts to look in; whatever their folders are called, hashes decide.

    Raises:
        ManifestError: one is not there, not proved, or its proof no longer holds.
    """
    roots = list(near)
    wanted = {record.parent}
    if record.proof.reference is not None:
        wanted.add(record.proof.reference.model)
    for sha256 in sorted(wanted - {record.checkpoint, ""}):
        found = find_graph(sha256, roots)
        if found is None:
            where = ", ".join(dict.fromkeys(map(str, roots)))
            raise ManifestError(
                f"{name} rests on a graph with SHA-256 {sha256[:16]}… that is not in {where}: export it again"
            )
        folder, ancestor = found
        check_proved(f"{name} rests on {folder}, which", ancestor)
        if ancestor.checkpoint != record.checkpoint:
            raise ManifestError(f"{name} and {folder}, on which it rests, come from different checkpoints")
        check_ancestors(str(folder), ancestor, roots)
