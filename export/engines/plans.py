"""The plans of a published model: which is for a GPU, why none is, and whether it is proved there."""

from __future__ import annotations

from pathlib import Path

from export.artefacts import artefact, manifest
from export.engines.gpu import Gpu
from export.engines.plan import Plan
from export.engines.provider import ProviderError, find
from export.proof import golden
from export.proof.limits import limits
from export.proof.proof import Verdict
from export.runtimes.runtime import RuntimeFailure


def fitting(record: manifest.Manifest, gpu: Gpu | None) -> Plan | None:
    """The plan for a GPU: its own before one for many; None when there is none."""
    fits = [plan for plan in record.plans if gpu is not None and plan.fits(gpu)]
    return min(fits, key=lambda plan: plan.hardware_compatible, default=None)


def unfit(record: manifest.Manifest, gpu: Gpu | None) -> str | None:
    """Why none of a published model's plans can run here; None when one can, or when it has none."""
    present = record.plans
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
    from export.runtimes.engine import EngineRuntime  # noqa: PLC0415  only where there is a GPU

    if plan.proof.passed:
        return str(Verdict.PASSED)
    provider = find(plan.provider)
    known = proofs.find(plan.sha256, gpu, provider.version)
    if known is not None:
        return known
    weights = folder / artefact.WEIGHTS_FILE
    try:
        with EngineRuntime(provider, folder / plan.file, weights if weights.is_file() else None) as runner:
            broken = golden.prove(folder / artefact.GOLDEN_FILE, runner, limits(record))
    except RuntimeFailure as error:
        return f"{Verdict.FAILED}: {error}"
    return proofs.keep(plan.sha256, gpu, provider.version, broken)


def _graph(record: manifest.Manifest) -> str:
    """What an engine of this model is built from."""
    return "int8-tensorrt" if record.precision == "int8" else record.precision
