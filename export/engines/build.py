"""An engine as an artefact: graph artefact -> ``<graph>-<capability>/``, built only when something has changed."""

from __future__ import annotations

import shutil
import time
from dataclasses import replace
from pathlib import Path

import onnx

from alexnet_client.files import sha256_of
from export.artefacts import artefact, manifest
from export.engines import layers
from export.engines.builder import EngineError, Options, build
from export.engines.gpu import Gpu, installed
from export.engines.provider import Provider
from export.proof.proof import WITHOUT_DEVICE, Proof

#: Where earlier builds' measurements are kept, one file a library version and GPU.
TIMING_CACHES = Path("build/timing-caches")
#: Precisions whose plans do without weights.
STRIPPABLE = ("fp32", "fp16")


def folder_name(graph: str, capability: str) -> str:
    """``fp16-sm89``."""
    return f"{graph}-{capability}"


def target(provider: Provider, wanted: str | None, gpu: Gpu | None) -> str:
    """The compute capability to build for: the one that is wanted, or the present GPU's.

    Raises:
        EngineError: there is no GPU and none is named, or the provider cannot build for another than the present one.
    """
    if wanted is None and gpu is None:
        raise EngineError("there is no GPU here: name what to build for, as --gpu sm89")
    if provider.builds_ahead:
        return wanted or str(gpu.capability if gpu else "")
    if gpu is None:
        raise EngineError(
            f"{provider} builds on the GPU it builds for and there is none here: use tensorrt_rtx, or build it there"
        )
    if wanted not in (None, gpu.capability):
        raise EngineError(
            f"{provider} builds for the present GPU, {gpu}, not for {wanted}: build it there, or use tensorrt_rtx"
        )
    return gpu.capability


def build_engine(
    graph: Path, output: Path, provider: Provider, capability: str, options: Options
) -> tuple[manifest.Manifest, bool]:
    """Write ``output/<graph>-<capability>`` from the graph artefact in the folder ``graph``.

    It stays as it is when it was built from the same graph, by the same library, with the same options. A stripped
    plan outlives its checkpoint: for another one of the same network only the weights beside it are renewed.

    Returns:
        its manifest, and whether anything was built.

    Raises:
        manifest.ManifestError: ``graph`` is no artefact, or was changed.
        export.engines.builder.EngineError: no engine can be built.
        FileError: a file could not be written; what was there stays.
    """
    parent = artefact.read(graph)
    source = graph / artefact.MODEL_FILE
    if options.stripped and parent.precision not in STRIPPABLE:
        raise EngineError(f"{graph.name} cannot be stripped, its scales are part of the plan: strip fp32 or fp16")
    folder = output / folder_name(graph.name, capability)
    asked = manifest.Engine(
        provider=provider.name,
        version=provider.version,
        capability=capability,
        options=options.as_dict(),
        network=_network(source) if options.stripped else parent.files[artefact.MODEL_FILE],
    )
    present = _present(folder, asked)
    # The plan's neighbours: renewed by themselves when only they have changed.
    beside = {artefact.GOLDEN_FILE: artefact.GOLDEN_FILE} if artefact.GOLDEN_FILE in parent.files else {}
    if options.stripped:
        beside[artefact.WEIGHTS_FILE] = artefact.MODEL_FILE
    same = present and all(present.files.get(name) == parent.files[origin] for name, origin in beside.items())
    if present and same and present.parent == parent.files[artefact.MODEL_FILE]:
        return present, False
    recipe, gpu = parent.recipe or manifest.Recipe(parent.precision), installed()
    with artefact.begin(folder) as draft:
        if present and present.engine:
            draft.keep(artefact.PLAN_FILE, artefact.LAYERS_FILE)
            engine = present.engine
        else:
            engine = _write_plan(draft.path, provider, source, options, asked)
        for name, origin in beside.items():
            shutil.copyfile(graph / origin, draft.path / name)
        draft.labels(artefact.read_labels(graph))
        record = draft.seal(
            recipe,
            checkpoint=parent.checkpoint,
            parent=parent.files[artefact.MODEL_FILE],
            tools=("onnx",),
            command=f"python -m export engine {graph.name} --gpu {capability} --provider {provider.name}",
            engine=engine,
            proof=Proof() if gpu and gpu.capability == capability else WITHOUT_DEVICE,
        )
    return record, present is None


def _write_plan(
    folder: Path, provider: Provider, source: Path, options: Options, asked: manifest.Engine
) -> manifest.Engine:
    started = time.monotonic()
    cache = TIMING_CACHES / f"{provider.name}-{provider.version}-{asked.capability}.cache"
    built = build(provider, source, asked.capability, options, cache)
    (folder / artefact.PLAN_FILE).write_bytes(built.plan)
    (folder / artefact.LAYERS_FILE).write_text(layers.dump(built.layers))
    return replace(
        asked,
        seconds=round(time.monotonic() - started, 2),
        bytes=len(built.plan),
        layers=len(built.layers),
        precisions=layers.precisions(built.layers),
    )


def _present(folder: Path, asked: manifest.Engine) -> manifest.Manifest | None:
    """What is in ``folder``, if it is whole and its plan is the one that is asked for."""
    try:
        record = artefact.read(folder)
    except manifest.ManifestError:
        return None
    return record if record.engine and record.engine.same_as(asked) else None


def _network(source: Path) -> str:
    """SHA-256 of a graph without its weights' values: what a stripped plan is built from."""
    model = onnx.load(source)
    for entry in model.graph.initializer:
        entry.ClearField("raw_data")
    return sha256_of(model.SerializeToString(deterministic=True))
