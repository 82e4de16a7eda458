"""Checkpoint -> ONNX: the served network, with its normalisation inside, in FP32 or FP16.

Precision is a property of the graph: FP16 is the exported half-precision module, not a converted FP32 graph, because
a strongly typed TensorRT network refuses what a converter leaves mixed.
"""

from __future__ import annotations

import logging
import warnings
from pathlib import Path

import torch
from torch import nn

from alexnet_client.contract import EMBEDDING, IMAGE, PROBABILITIES
from export.graphs.checksum import append_checksum
from export.graphs.onnx_file import strip_traces, write_graph
from training.model import Served

OPSET = 20
#: Two images: one would let the exporter bake the batch in.
EXAMPLE_BATCH = 2


def write_onnx(model: nn.Module, path: Path, *, half: bool = False) -> None:
    """Write ``model`` (logits and embedding) as ``path``, atomically; the same weights give the same bytes.

    The graph takes ``image`` uint8 [N, 224, 224, 3] and answers ``probabilities`` float32 [N, K], ``embedding``
    float32 [N, 4096] and ``checksum`` float32 [N, 4, 4, 3]. With ``half`` its weights and arithmetic are float16.

    Raises:
        OSError: the file could not be written.
        onnx.checker.ValidationError: the exported graph is not valid ONNX.
    """
    served = Served(model.half() if half else model.float()).eval()
    example = torch.zeros((EXAMPLE_BATCH, *IMAGE.shape), dtype=torch.uint8)
    logging.getLogger("torch.onnx").setLevel(logging.ERROR)  # it regrets that torchvision is absent
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # it warns of its own deprecated calls
        program = torch.onnx.export(
            served,
            (example,),
            input_names=[IMAGE.name],
            output_names=[PROBABILITIES.name, EMBEDDING.name],
            dynamic_shapes=({0: torch.export.Dim("N", min=1)},),
            opset_version=OPSET,
            dynamo=True,
            verbose=False,
        )
    if program is None:
        raise RuntimeError("torch.onnx.export returned no program")
    graph = program.model_proto
    append_checksum(graph)
    strip_traces(graph)
    write_graph(graph, path)
