"""The ONNX file: the same graph always gives the same bytes, with no trace of the machine that wrote it."""

from __future__ import annotations

from pathlib import Path

import onnx

from alexnet_client.files import atomic_path


def strip_traces(model: onnx.ModelProto) -> None:
    """Remove what names this machine or this run: stack traces, source paths, documentation strings."""
    model.doc_string = ""
    del model.metadata_props[:]
    del model.graph.metadata_props[:]
    del model.graph.value_info[:]
    model.graph.name = "alexnet"
    for entry in (*model.graph.node, *model.graph.input, *model.graph.output, *model.graph.initializer):
        entry.doc_string = ""
        del entry.metadata_props[:]


def write_graph(model: onnx.ModelProto, path: Path) -> None:
    """Check ``model`` and write it as ``path``, atomically.

    Raises:
        onnx.checker.ValidationError: the graph is not valid ONNX.
        OSError: the file could not be written.
    """
    onnx.checker.check_model(model, full_check=True)
    with atomic_path(path) as partial:
        onnx.save_model(model, partial)
