"""The least time that a batch can take on a GPU: all weights are read once, and every multiplication is done.

The two bounds of Williams, Waterman, Patterson: "Roofline" (Communications of the ACM 52, 2009), for one forward pass.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Self

import torch
from torch import nn

from alexnet_client.contract import IMAGE
from export.engines.gpu import UnknownGpu
from training.model import AlexNet

#: Operations (a multiplication and an addition are two) that one multiprocessor does in a clock: its cores in FP32, as
#: engines are built without TF32, and its tensor cores in FP16, dense. NVIDIA's architecture papers: Turing, A100,
#: GA102, Ada, H100, RTX Blackwell.
OPERATIONS = {
    "sm75": (128, 1024),
    "sm80": (128, 2048),
    "sm86": (256, 1024),
    "sm89": (256, 1024),
    "sm90": (256, 4096),
    "sm120": (256, 1024),
}
#: How many times as many tensor cores do in narrower types.
NARROW = 2


@dataclass(frozen=True, slots=True)
class Roof:
    """What a GPU can do at most."""

    #: Bytes a second of device memory.
    bandwidth: float
    #: Precision -> operations a second.
    operations: dict[str, float]

    @classmethod
    def of(cls, capability: str, multiprocessors: int, clock: float, memory_clock: float, bus: int) -> Self:
        """From what the driver says.

        Args:
            clock: of the multiprocessors, in Hz, at most.
            memory_clock: in Hz; two transfers each.
            bus: width to device memory, in bits.

        Raises:
            UnknownGpu: a compute capability whose tensor cores are not known here.
        """
        if capability not in OPERATIONS:
            raise UnknownGpu(f"got compute capability {capability}: want one of {', '.join(OPERATIONS)}, or add it")
        fp32, fp16 = (each * multiprocessors * clock for each in OPERATIONS[capability])
        operations = {"fp32": fp32, "fp16": fp16, "int8": NARROW * fp16, "fp8": NARROW * fp16}
        return cls(2 * memory_clock * bus / 8, operations)

    def seconds(self, weights: int, macs: int, batch: int, precision: str) -> float:
        """The least time for one batch.

        Args:
            weights: bytes of all weights in that precision.
            macs: multiplications with addition for one image.
        """
        return max(weights / self.bandwidth, 2 * macs * batch / self.operations[precision])


def macs(model: AlexNet) -> int:
    """Multiplications with addition in convolutions and dense layers for one image."""
    total = 0

    def count(layer: nn.Module, _: tuple[torch.Tensor, ...], output: torch.Tensor) -> None:
        nonlocal total
        weight = layer.get_parameter("weight")
        total += output.numel() * weight[0].numel()

    hooks = [
        layer.register_forward_hook(count) for layer in model.modules() if isinstance(layer, (nn.Conv2d, nn.Linear))
    ]
    height, width, channels = IMAGE.shape
    with torch.inference_mode():
        model(torch.zeros(1, channels, height, width))
    for hook in hooks:
        hook.remove()
    return total
