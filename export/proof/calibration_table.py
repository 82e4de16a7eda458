"""The calibration table: every method for every scheme, judged by accuracy over the whole test split."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

from alexnet_client.files import atomic_path
from export.artefacts import artefact, manifest
from export.build import build_int8, folder_name
from export.graphs.calibration import METHODS
from export.graphs.int8_onnx import SCHEMES
from export.proof.lineage import stale
from export.proof.verify import verify
from training.data.open import open_split

ROW = "{:10}{:12}{:>9}{:>9}{:>13}{:>10}{:>12}  {}"


def write_table(
    data: Path,
    output: Path,
    checkpoint: Path,
    cache: Path,
    schemes: Sequence[str] = tuple(SCHEMES),
    methods: Sequence[str] = tuple(METHODS),
) -> Path:
    """Quantise and verify with each method, print the table and write ``output/calibration.json``.

    What is there and whole is kept, so an interrupted table goes on.

    Raises:
        AlexNetError: as of :func:`export.build.build_int8` and :func:`export.proof.verify.verify`.
        FileError: a file could not be written.
    """
    images = open_split(data, "test")
    parent = artefact.read(output / folder_name("fp32"))
    rows = []
    for scheme in schemes:
        for method in methods:
            folder = output / folder_name("int8", scheme, method)
            record = _present(folder, parent)
            if record is None:
                build_int8(data, output, scheme, method=method)
                record = verify(folder, checkpoint, images, cache)
            rows.append({"scheme": scheme, "method": method, **_figures(record)})
    print(ROW.format("scheme", "method", "top-1 %", "top-5 %", "agreement %", "cosine", "max |Δp|", "verdict"))
    for row in rows:
        figures = (f"{row['top1']:.2f}", f"{row['top5']:.2f}", f"{row['agreement']:.2f}", f"{row['cosine']:.4f}")
        print(ROW.format(row["scheme"], row["method"], *figures, f"{row['max_abs_dp']:.1e}", row["verdict"]))
    path = output / "calibration.json"
    with atomic_path(path) as partial:
        partial.write_text(json.dumps(rows, indent=2) + "\n")
    return path


def _figures(record: manifest.Manifest) -> dict[str, Any]:
    proof = record.proof
    if proof.comparison is None or proof.accuracy is None:
        raise manifest.ManifestError(f"{record.kind} has no accuracy: compare methods on a labelled data set")
    return {**asdict(proof.accuracy), **asdict(proof.comparison), "verdict": str(proof)}


def _present(folder: Path, parent: manifest.Manifest) -> manifest.Manifest | None:
    """What is in ``folder``, if it was made from ``parent`` and judged."""
    try:
        record = artefact.read(folder)
    except manifest.ManifestError:
        return None
    judged = record.proof.comparison is not None and record.parent == parent.files[artefact.MODEL_FILE]
    return record if judged and not stale(record) else None
