"""The plans of a published model: which is for a GPU, why none is, and whether it is proved there."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from export.artefacts import artefact, manifest
from export.engines.gpu import Gpu
from export.engines.provider import Provider, ProviderError, find
from export.proof import golden
from export.proof.limits import limits

#: Hardware-compatible plans are for Ampere and all that came after it.
AMPERE = 80


@dataclass(frozen=True, slots=True)
class Plan:
    """One engine of a published model, as the model's manifest records it."""

    capability: str
    #: Its file's name, beside the manifest.
    file: str
    sha256: str
    provider: str
    version: str
    verdict: str
    #: Runs on every GPU from Ampere on.
    hardware_compatible: bool
    #: Runs on later versions of the library too.
    version_compatible: bool

    def as_dict(self) -> dict[str, Any]:
        """For the manifest."""
        return asdict(self)

    def fits(self, gpu: Gpu) -> bool:
        """Whether it was built for ``gpu``."""
        return self.capability == gpu.capability or (self.hardware_compatible and int(gpu.capability[2:]) >= AMPERE)

    def runs_on(self, library: Provider) -> bool:
        """Whether ``library`` can load it."""
        older = _numbers(self.version) <= _numbers(library.version)
        return self.version == library.version or (self.version_compatible and older)


def of(record: manifest.Manifest) -> list[Plan]:
    """The plans of a published model; none where only a graph serves."""
    return [Plan(**facts) for facts in record.engine.get("plans", [])]


def fitting(record: manifest.Manifest, gpu: Gpu | None) -> Plan | None:
    """The plan for a GPU: its own before one for many; None when there is none."""
    fits = [plan for plan in of(record) if gpu is not None and plan.fits(gpu)]
    return min(fits, key=lambda plan: plan.hardware_compatible, default=None)


def unfit(record: manifest.Manifest, gpu: Gpu | None) -> str | None:
    """Why none of a published model's plans can run here; None when one can, or when it has none."""
    present = of(record)
    if not present:
        return None
    have = ", ".join(sorted((plan.capability for plan in present), key=lambda name: int(name[2:])))
    if gpu is None:
        return f"{record.model} has engines for {have}, and this machine has no GPU"
    plan = fitting(record, gpu)
    again = f"`python -m export engine {_graph(record)} --gpu {gpu.capability}` and publish it"
    if plan is None:
        return f"{record.model} has engines for {have}, and this machine has {gpu}: build one with {again}"
    try:
        library = find(plan.provider)
    except ProviderError as error:
        return f"{record.model}'s engine for {gpu} cannot be loaded: {error}"
    if not plan.runs_on(library):
        return (
            f"{record.model}'s engine for {gpu} is of {plan.provider} {plan.version}, and this machine has {library}: "
            f"build it again with {again}"
        )
    return None


def prove_published(folder: Path, record: manifest.Manifest, plan: Plan, gpu: Gpu, proofs: golden.Proofs) -> str:
    """The verdict on one published plan: as its manifest has it, as it was proved here before, or proved now.

    Args:
        folder: where the plan and its golden batch are.

    Raises:
        export.engines.provider.ProviderError: its library is not here.
        manifest.ManifestError: there is no golden batch.
    """
    from export.runtimes.engine import EngineRunner, RuntimeFailure  # noqa: PLC0415  only where there is a GPU

    if plan.verdict == manifest.PASSED:
        return manifest.PASSED
    provider = find(plan.provider)
    known = proofs.find(plan.sha256, gpu, provider.version)
    if known is not None:
        return known
    weights = folder / artefact.WEIGHTS_FILE
    try:
        with EngineRunner(provider, folder / plan.file, weights if weights.is_file() else None) as runner:
            broken = golden.prove(folder / artefact.GOLDEN_FILE, runner, limits(record))
    except RuntimeFailure as error:
        return f"failed: {error}"
    return proofs.keep(plan.sha256, gpu, provider.version, broken)


def _graph(record: manifest.Manifest) -> str:
    """What an engine of this model is built from."""
    precision = str(record.recipe["precision"])
    return "int8-tensorrt" if precision == "int8" else precision


def _numbers(version: str) -> tuple[int, ...]:
    return tuple(int(part) for part in version.split(".") if part.isdigit())
