"""The provider: which TensorRT is here. Two libraries of one Python interface, and one line to install either."""

from __future__ import annotations

import importlib
from dataclasses import dataclass
from typing import Any

from alexnet_client.errors import AlexNetError

#: The first that is installed is taken. TensorRT-RTX builds for GPUs that are not there.
PROVIDERS = ("tensorrt", "tensorrt_rtx")
#: The first release whose strongly typed networks need no builder flags beside them.
OLDEST = {"tensorrt": (10, 12), "tensorrt_rtx": (1, 2)}
EXTRAS = {"tensorrt": "tensorrt", "tensorrt_rtx": "tensorrt-rtx"}


class ProviderError(AlexNetError):
    """No TensorRT, or one that is too old."""


@dataclass(frozen=True, slots=True)
class Provider:
    """A TensorRT library: ``trt`` is its module, whatever its name."""

    name: str
    trt: Any

    @property
    def version(self) -> str:
        """As the library says it: ``1.7.1.116``."""
        return str(self.trt.__version__)

    @property
    def builds_ahead(self) -> bool:
        """Whether it builds for a GPU that this machine does not have."""
        return hasattr(self.trt, "ComputeCapability")

    def capabilities(self) -> tuple[str, ...]:
        """The compute capabilities it builds ahead of time for; empty when it builds for the present GPU only."""
        if not self.builds_ahead:
            return ()
        return tuple(
            sorted((name.lower() for name in self.trt.ComputeCapability.__members__ if name[:2] == "SM"), key=_number)
        )

    def __str__(self) -> str:
        return f"{self.name} {self.version}"


def find(name: str | None = None) -> Provider:
    """The provider called ``name``, or the first that is installed.

    Raises:
        ProviderError: it is not installed, or too old; says how to install it with pip and where it is in NVIDIA's
            container.
    """
    for candidate in (name,) if name else PROVIDERS:
        try:
            module = importlib.import_module(candidate)
        except ImportError:
            continue
        provider = Provider(candidate, module)
        oldest = OLDEST[candidate]
        if tuple(int(part) for part in provider.version.split(".")[:2]) < oldest:
            raise ProviderError(
                f"got {provider}: want {'.'.join(map(str, oldest))} or newer: {install_line(candidate)}"
            )
        return provider
    wanted = name or " or ".join(PROVIDERS)
    raise ProviderError(f"{wanted} is not installed: {install_line(name)}")


def install_line(name: str | None = None) -> str:
    """How to get a provider."""
    lines = {
        "tensorrt": "`pip install -c constraints.txt '.[tensorrt]'` on a machine with a GPU, or, in NVIDIA's container "
        "nvcr.io/nvidia/tritonserver, `pip install tensorrt==$TRT_VERSION`, the Python half of the library it has",
        "tensorrt_rtx": "`pip install -c constraints.txt '.[tensorrt-rtx]'`, which builds without a GPU",
    }
    return lines[name] if name else "; ".join(lines[each] for each in reversed(PROVIDERS))


def _number(capability: str) -> int:
    return int(capability[2:])
