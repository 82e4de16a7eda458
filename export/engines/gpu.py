"""The GPU: the one this machine has, and the names of compute capabilities (``sm89``; Triton writes ``8.9``)."""

from __future__ import annotations

import re
from dataclasses import dataclass

import pynvml

from alexnet_client.errors import AlexNetError


class UnknownGpu(AlexNetError):
    """A compute capability that is none, or that nothing is known about."""


@dataclass(frozen=True, slots=True)
class Gpu:
    """A CUDA device, as the driver describes it."""

    name: str
    #: ``sm`` and the compute capability without its dot.
    capability: str
    driver: str
    #: Bytes of device memory.
    memory: int

    def __str__(self) -> str:
        return f"{self.name} ({self.capability})"


def installed() -> Gpu | None:
    """The first GPU of this machine; None where there is no driver or no device."""
    try:
        pynvml.nvmlInit()
    except pynvml.NVMLError:
        return None
    try:
        if not pynvml.nvmlDeviceGetCount():
            return None
        device = pynvml.nvmlDeviceGetHandleByIndex(0)
        major, minor = pynvml.nvmlDeviceGetCudaComputeCapability(device)
        return Gpu(
            name=pynvml.nvmlDeviceGetName(device),
            capability=f"sm{major}{minor}",
            driver=pynvml.nvmlSystemGetDriverVersion(),
            memory=int(pynvml.nvmlDeviceGetMemoryInfo(device).total),
        )
    finally:
        pynvml.nvmlShutdown()


def capability(text: str) -> str:
    """``sm89`` from ``sm89``, ``SM89`` or ``8.9``.

    Raises:
        UnknownGpu: it is no compute capability.
    """
    match = re.fullmatch(r"(?:sm)?(\d{1,2})[._]?(\d)", text.strip().lower())
    if match is None:
        raise UnknownGpu(f"got compute capability {text!r}: want one like sm89 or 8.9")
    return f"sm{int(match[1])}{match[2]}"


def triton_key(name: str) -> str:
    """``8.9`` from ``sm89``: the key of ``cc_model_filenames``."""
    return f"{name[2:-1]}.{name[-1]}"
