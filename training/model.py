"""AlexNet in both published forms: ``owt`` ("One weird trick", Krizhevsky 2014), ``paper`` (Krizhevsky et al. 2012)."""

from __future__ import annotations

from typing import TypeVar

import torch
from torch import Tensor, nn

from alexnet_client.contract import EMBEDDING_LENGTH, PIXEL_SCALE, PIXEL_ZERO

_Module = TypeVar("_Module", bound=nn.Module)

VARIANTS = ("owt", "paper")


class AlexNet(nn.Module):
    """Five convolution blocks and three dense layers, the penultimate one returned beside the logits.

    ``owt`` has torchvision's state-dict names, so public weights load. ``paper`` has 96-256-384-384-256 kernels,
    two groups on convolutions 2, 4 and 5, and local response normalisation after 1 and 2; its 224 pixels are padded to
    the 227 that (227 - 11) / 4 + 1 = 55 needs.
    """

    def __init__(self, variant: str = "owt", classes: int = 1000, dropout: float = 0.5) -> None:
        """Build a network with random weights.

        Raises:
            ValueError: an unknown variant, or fewer than one class.
        """
        super().__init__()
        if variant not in VARIANTS:
            raise ValueError(f"unknown variant {variant!r}: want one of {', '.join(VARIANTS)}")
        if classes < 1:
            raise ValueError(f"got {classes} classes: want at least 1")
        self.variant = variant
        self.features = _owt() if variant == "owt" else _paper()
        self.classifier = nn.Sequential(
            nn.Dropout(dropout),
            nn.Linear(256 * 6 * 6, EMBEDDING_LENGTH),
            nn.ReLU(),
            nn.Dropout(dropout),
            nn.Linear(EMBEDDING_LENGTH, EMBEDDING_LENGTH),
            nn.ReLU(),
            nn.Linear(EMBEDDING_LENGTH, classes),
        )

    def forward(self, images: Tensor) -> tuple[Tensor, Tensor]:
        """Normalised ``float[N, 3, 224, 224]`` -> logits ``[N, K]``, embedding ``[N, 4096]`` (after its ReLU)."""
        embedding = self.classifier[:-1](self.features(images).flatten(1))
        return self.classifier[-1](embedding), embedding


def _owt() -> nn.Sequential:
    return nn.Sequential(
        nn.Conv2d(3, 64, 11, stride=4, padding=2), nn.ReLU(), nn.MaxPool2d(3, 2),
        nn.Conv2d(64, 192, 5, padding=2), nn.ReLU(), nn.MaxPool2d(3, 2),
        nn.Conv2d(192, 384, 3, padding=1), nn.ReLU(),
        nn.Conv2d(384, 256, 3, padding=1), nn.ReLU(),
        nn.Conv2d(256, 256, 3, padding=1), nn.ReLU(), nn.MaxPool2d(3, 2),
    )  # fmt: skip


def _paper() -> nn.Sequential:
    return nn.Sequential(
        nn.ZeroPad2d((1, 2, 1, 2)),  # 224 -> 227
        nn.Conv2d(3, 96, 11, stride=4), nn.ReLU(), _normalise(), nn.MaxPool2d(3, 2),
        nn.Conv2d(96, 256, 5, padding=2, groups=2), nn.ReLU(), _normalise(), nn.MaxPool2d(3, 2),
        nn.Conv2d(256, 384, 3, padding=1), nn.ReLU(),
        nn.Conv2d(384, 384, 3, padding=1, groups=2), nn.ReLU(),
        nn.Conv2d(384, 256, 3, padding=1, groups=2), nn.ReLU(), nn.MaxPool2d(3, 2),
    )  # fmt: skip


def _normalise() -> nn.LocalResponseNorm:
    """Section 3.3: k = 2, n = 5, α = 1e-4, β = 0.75. PyTorch divides α by n, the paper does not."""
    return nn.LocalResponseNorm(size=5, alpha=5 * 1e-4, beta=0.75, k=2.0)


def channels_last(module: _Module) -> _Module:
    """The module, its weights in the memory layout that convolutions are fastest in."""
    return module.to(memory_format=torch.channels_last)  # type: ignore[call-overload, no-any-return]  # PyTorch's stub


class Served(nn.Module):
    """The network as it is exported: pixels in, normalisation and layout inside, float32 out at any precision."""

    def __init__(self, network: nn.Module) -> None:
        super().__init__()
        self.network = network

    def forward(self, image: Tensor) -> tuple[Tensor, Tensor]:
        """``uint8[N, 224, 224, 3]`` -> probabilities ``float32[N, K]``, embedding ``float32[N, 4096]``."""
        logits, embedding = self.network(normalise(image, next(self.network.parameters()).dtype))
        return logits.float().softmax(1), embedding.float()


def normalise(image: Tensor, dtype: torch.dtype = torch.float32) -> Tensor:
    """``uint8[N, 224, 224, 3]`` -> ``dtype[N, 3, 224, 224]`` in [-1, 1), channels last in memory."""
    return ((image.to(dtype) - PIXEL_ZERO) / PIXEL_SCALE).permute(0, 3, 1, 2)
