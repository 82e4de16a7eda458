"""What engines are measured against: PyTorch in FP16, recorded as one CUDA graph, or compiled."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import torch
from numpy.typing import NDArray

from alexnet_client.contract import IMAGE
from training.model import AlexNet, Served, channels_last

#: ``uint8[N, 224, 224, 3]`` in host memory -> both outputs in host memory.
Run = Callable[[NDArray[np.uint8]], object]


def recorded(model: AlexNet, batch: int) -> Run:
    """FP16, channels last, one CUDA graph; transfers over pinned memory are part of it, as they are of an engine's."""
    served = _on_gpu(model)
    host_in = torch.empty((batch, *IMAGE.shape), dtype=torch.uint8, pin_memory=True)
    image = torch.empty_like(host_in, device="cuda")
    stream = torch.cuda.Stream()  # type: ignore[no-untyped-call]
    with torch.inference_mode(), torch.cuda.stream(stream):
        for _ in range(3):
            outputs = served(image)
        host_out = [torch.empty_like(output, device="cpu", pin_memory=True) for output in outputs]
        stream.synchronize()
        graph = torch.cuda.CUDAGraph()
        with torch.cuda.graph(graph, stream=stream):
            image.copy_(host_in, non_blocking=True)
            for target, output in zip(host_out, served(image), strict=True):
                target.copy_(output, non_blocking=True)

    def run(pixels: NDArray[np.uint8]) -> object:
        host_in.copy_(torch.from_numpy(pixels))
        with torch.cuda.stream(stream):
            graph.replay()
        stream.synchronize()
        return host_out

    return run


def compiled(model: AlexNet, batch: int) -> Run:
    """FP16, ``torch.compile`` with its widest search, which records CUDA graphs itself."""
    served = torch.compile(_on_gpu(model), mode="max-autotune", fullgraph=True)
    host_in = torch.empty((batch, *IMAGE.shape), dtype=torch.uint8, pin_memory=True)

    def run(pixels: NDArray[np.uint8]) -> object:
        host_in.copy_(torch.from_numpy(pixels))
        with torch.inference_mode():
            return [output.cpu() for output in served(host_in.to("cuda", non_blocking=True))]

    return run


def _on_gpu(model: AlexNet) -> torch.nn.Module:
    return channels_last(Served(model).eval()).half().cuda()
