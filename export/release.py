"""A release: every model's folder as Triton reads it, from artefacts and the hand-written configurations.

A model that has engines has one plan a GPU, and at most one graph to fall back on. Its configuration is the same as
everywhere, with a block that says which plan is for which compute capability.
"""

from __future__ import annotations

import shutil
import string
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

from alexnet_client.contract import MODELS, PRECISION_MODELS, PROBABILITIES
from alexnet_client.files import sha256, sync
from export.artefacts import artefact, manifest
from export.artefacts.manifest import Manifest, ManifestError
from export.engines.gpu import triton_key
from export.engines.plan import Plan
from export.proof import steps
from export.proof.proof import WITHOUT_DEVICE

#: Configurations as they are written by hand, and Python models.
SOURCE = Path(__file__).resolve().parent.parent / "model_repository"
CONFIG = "config.pbtxt"
#: Whose configuration is that of all precisions.
PRECISION_FOLDER = "alexnet_precision"
#: Where the block about engines begins in a published configuration.
ENGINES = "# Engines: Triton takes the plan of its GPU's compute capability, and the default where there is none."
#: Batch sizes that run as one CUDA graph: a lone request, and the profile's best.
HOT = (1, 32)

#: Precision -> the graph to fall back on, where it has another name.
FALLBACKS = {"int8": "int8-cpu"}

#: An artefact: its folder and its manifest.
Member = tuple[Path, Manifest]


def stage(
    staged: Path, number: int, models: dict[str, list[Member]], precision: str, accepted: str, source: Path
) -> None:
    """Write release ``number`` into the folder ``staged``, and flush it to disk.

    Args:
        models: served model -> its artefacts.
        precision: the one that answers behind the ensemble.
        accepted: why engines without a proof may be published; they are proved where they are first loaded.
        source: the folder of configurations and Python models.

    Raises:
        ManifestError: an artefact was changed while it was copied, or a step does not fit the contract.
        OSError: a file could not be written.
    """
    first = next(iter(models.values()))[0]
    labels = artefact.read_labels(first[0])
    others = [name for name in MODELS if name not in PRECISION_MODELS]
    for name in (*models, *others):
        (staged / name).mkdir(parents=True)
        (staged / name / CONFIG).write_text(configuration(name, len(labels), precision, source))
    for name, members in models.items():
        _stage_model(staged / name, number, members, accepted)
    for name in others:
        _stage_step(staged / name, number, source / name, first, precision)
    for path in staged.rglob("*"):
        sync(path)
    sync(staged)


def configuration(model: str, classes: int, precision: str, source: Path = SOURCE) -> str:
    """The configuration of a model of the contract, its placeholders filled in.

    Args:
        precision: the one that answers behind the ensemble.
        source: the folder of configurations.
    """
    folder = PRECISION_FOLDER if model in PRECISION_MODELS else model
    text = string.Template((source / folder / CONFIG).read_text())
    return text.substitute(name=model, classes=classes, precision=precision)


def _stage_step(model: Path, number: int, source: Path, labelled: Member, precision: str) -> None:
    """The decoder or the ensemble: nothing to compare with, so its own checks are its proof."""
    contract = MODELS[model.name]
    version = model / str(number)
    version.mkdir()
    if PROBABILITIES in contract.outputs:
        folder, record = labelled
        _copy(folder, artefact.LABELS_FILE, model / artefact.LABELS_FILE, record)
    for path in sorted(source.glob("1/*.py")):
        shutil.copyfile(path, version / path.name)
    needs = tuple(need.format(precision=precision) for need in contract.needs)
    proof = steps.prove(model, number, contract, needs)
    record = Manifest(model=model.name, files={}, needs=needs, proof=proof)
    replace(record, files=manifest.hashes(model, manifest.present_files(model))).write(version)


def _stage_model(model: Path, number: int, members: Sequence[Member], accepted: str) -> None:
    version = model / str(number)
    version.mkdir()
    folder, record = members[0]
    _copy(folder, artefact.LABELS_FILE, model / artefact.LABELS_FILE, record)
    engines = [member for member in members if member[1].engine]
    for folder, graph in members:
        if not graph.engine:
            record = graph
            _copy(folder, artefact.MODEL_FILE, version / artefact.MODEL_FILE, graph)
            if artefact.GOLDEN_FILE in graph.files:
                _copy(folder, artefact.GOLDEN_FILE, version / artefact.GOLDEN_FILE, graph)
    if engines:
        plans = [_stage_engine(version, *member) for member in engines]
        with (model / CONFIG).open("a") as config:
            config.write(_engine_block(plans))
        unproved = any(not plan.proof.passed for plan in plans)
        record = replace(
            record,
            engine=None,
            plans=tuple(plans),
            fallback=len(engines) < len(members),
            proof=WITHOUT_DEVICE if unproved else record.proof,
            accepted=accepted if unproved else "",
        )
    replace(record, files=manifest.hashes(model, manifest.present_files(model))).write(version)


def _stage_engine(version: Path, folder: Path, record: Manifest) -> Plan:
    engine = _engine(record)
    hardware_compatible = bool(engine.options["hardware_compatible"])
    # The default is for every GPU that no other plan is for.
    file = artefact.PLAN_FILE if hardware_compatible else f"{engine.capability}.plan"
    _copy(folder, artefact.PLAN_FILE, version / file, record)
    shutil.copyfile(folder / manifest.FILE_NAME, version / f"{Path(file).stem}.json")
    for shared in (artefact.WEIGHTS_FILE, artefact.GOLDEN_FILE):
        if shared in record.files and not (version / shared).is_file():
            _copy(folder, shared, version / shared, record)
    return Plan(
        capability=engine.capability,
        file=file,
        sha256=record.files[artefact.PLAN_FILE],
        provider=engine.provider,
        version=engine.version,
        proof=record.proof,
        hardware_compatible=hardware_compatible,
        version_compatible=bool(engine.options["version_compatible"]),
    )


def _engine(record: Manifest) -> manifest.Engine:
    if record.engine is None:
        raise ManifestError(f"{record.model} is no engine")
    return record.engine


def _engine_block(plans: Sequence[Plan]) -> str:
    entries = ",\n".join(
        f'  {{ key: "{triton_key(plan.capability)}" value: "{plan.file}" }}'
        for plan in plans
        if not plan.hardware_compatible
    )
    graphs = " ".join(f"graph_spec {{ batch_size: {size} }}" for size in HOT)
    return (
        f'\n{ENGINES}\ndefault_model_filename: "{artefact.PLAN_FILE}"\n'
        + (f"cc_model_filenames [\n{entries}\n]\n" if entries else "")
        + "# The hot batch sizes are recorded once as CUDA graphs: one launch each.\n"
        + f"optimization {{ cuda {{ graphs: true {graphs} }} }}\n"
    )


def engines_in(artefacts: Path, *, with_graphs: bool) -> list[str]:
    """The names of all engine artefacts in a folder, and of the graphs that a server without their GPU falls back on.

    Raises:
        ManifestError: there is no engine.
    """
    found = artefact.all_in(artefacts)
    engines = [name for name, record in found.items() if record.engine]
    if not engines:
        raise ManifestError(f"there is no engine in {artefacts}: build some with `make engines`")
    # INT8 falls back on the graph whose scheme is the processor's.
    precisions = {found[name].precision for name in engines}
    graphs = [FALLBACKS.get(precision, precision) for precision in sorted(precisions)]
    return [*engines, *(graphs if with_graphs else ())]


def without_engines(config: str) -> str:
    """A published configuration as it is for the graph to fall back on."""
    return config.partition(ENGINES)[0]


def _copy(folder: Path, name: str, target: Path, record: Manifest) -> None:
    """Copy an artefact's file; what was copied is what was proved, whatever happened to the file meanwhile."""
    shutil.copyfile(folder / name, target)
    if (got := sha256(target)) != record.files[name]:
        raise ManifestError(
            f"{folder / name} was changed after it was proved: its SHA-256 is {got[:16]}…, "
            f"its manifest has {record.files[name][:16]}…: export it again"
        )
