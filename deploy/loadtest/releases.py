"""Two releases to switch between: copies of what is published, of which the second may be made another."""

from __future__ import annotations

import shutil
from dataclasses import replace
from pathlib import Path

import numpy as np
import onnx
from onnx import helper, numpy_helper

from alexnet_client.contract import EMBEDDING, PROBABILITIES
from export.artefacts import artefact, manifest
from export.publish import switch


def copy_twice(repository: Path, folder: Path) -> tuple[Path, list[Path]]:
    """Copy the published release twice below ``folder``; returns a repository that is the first, and both."""
    link = folder / "repository"
    releases = [link.with_name(f"{link.name}.releases") / number for number in ("1", "2")]
    for release in releases:
        shutil.copytree(repository.resolve(), release)
    switch(link, releases[0])
    return link, releases


def make_another(release: Path) -> None:
    """Give a release, in place, its classes in the opposite order and embeddings of half the length.

    What is answered by a graph of one release with the labels of the other is then neither's answer.
    """
    for record_file in release.glob(f"*/*/{manifest.FILE_NAME}"):
        model = record_file.parents[1]
        for graph in model.glob(f"*/{artefact.MODEL_FILE}"):
            _turn(graph)
        for labels in model.glob(artefact.LABELS_FILE):
            labels.write_text("".join(f"{label}\n" for label in reversed(labels.read_text().splitlines())))
        record = manifest.read(record_file.parent)
        replace(record, files=manifest.hashes(model, record.files)).write(record_file.parent)


def _turn(path: Path) -> None:
    graph = onnx.load(path)
    (classes,) = [
        output.type.tensor_type.shape.dim[1].dim_value
        for output in graph.graph.output
        if output.name == PROBABILITIES.name
    ]
    for node in graph.graph.node:
        for names in (node.input, node.output):
            names[:] = [f"{name}_before" if name in (EMBEDDING.name, PROBABILITIES.name) else name for name in names]
    graph.graph.initializer.extend(
        [
            numpy_helper.from_array(np.arange(classes)[::-1].copy(), "opposite"),
            numpy_helper.from_array(np.array(0.5, np.float32), "half"),
        ]
    )
    graph.graph.node.extend(
        [
            helper.make_node("Gather", [f"{PROBABILITIES.name}_before", "opposite"], [PROBABILITIES.name], axis=1),
            helper.make_node("Mul", [f"{EMBEDDING.name}_before", "half"], [EMBEDDING.name]),
        ]
    )
    onnx.save(graph, path)
