"""A plan of a published model, as the model's manifest records it: which GPU and which library it is for."""

from __future__ import annotations

from dataclasses import dataclass

from export.engines.gpu import Gpu
from export.engines.provider import Provider
from export.proof.proof import Proof

#: Hardware-compatible plans are for Ampere and all that came after it.
AMPERE = 80


@dataclass(frozen=True, slots=True)
class Plan:
    """One engine."""

    capability: str
    #: Its file's name, beside the manifest.
    file: str
    sha256: str
    provider: str
    version: str
    proof: Proof
    #: Runs on every GPU from Ampere on.
    hardware_compatible: bool
    #: Runs on later versions of the library too.
    version_compatible: bool

    def fits(self, gpu: Gpu) -> bool:
        """Whether it was built for ``gpu``."""
        return self.capability == gpu.capability or (self.hardware_compatible and int(gpu.capability[2:]) >= AMPERE)

    def runs_on(self, library: Provider) -> bool:
        """Whether ``library`` can load it."""
        older = _numbers(self.version) <= _numbers(library.version)
        return self.version == library.version or (self.version_compatible and older)


def _numbers(version: str) -> tuple[int, ...]:
    return tuple(int(part) for part in version.split(".") if part.isdigit())
