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
from alexnet_client.files import sync
from export.artefacts import artefact, manifest
from export.engines.gpu import triton_key
from export.engines.plans import Plan

CONFIG = "config.pbtxt"
#: Where the block about engines begins in a published configuration.
ENGINES = "# Engines: Triton takes the plan of its GPU's compute capability, and the default where there is none."
#: Batch sizes that run as one CUDA graph: a lone request, and the profile's best.
HOT = (1, 32)

#: Precision -> the graph to fall back on, where it has another name.
FALLBACKS = {"int8": "int8-cpu"}

#: An artefact: its folder and its manifest.
Member = tuple[Path, manifest.Manifest]


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
        OSError: a file could not be written.
    """
    members = next(iter(models.values()))
    labels = (members[0][0] / artefact.LABELS_FILE).read_text().splitlines()
    values = {"classes": str(len(labels)), "precision": precision}
    for name, members in models.items():
        model = staged / name
        _configure(source / name, model, values)
        (model / str(number)).mkdir()
        _stage_model(model, number, members, accepted)
    for name in (name for name in MODELS if name not in PRECISION_MODELS):
        model = staged / name
        _configure(source / name, model, values)
        (model / str(number)).mkdir()
        names = [CONFIG]
        if PROBABILITIES in MODELS[name].outputs:
            _copy(members[0][0] / artefact.LABELS_FILE, model, artefact.LABELS_FILE, names)
        for path in sorted((source / name).glob("1/*.py")):
            _copy(path, model, f"{number}/{path.name}", names)
        record = manifest.Manifest(model=name, files=manifest.hashes(model, names), verdict=manifest.PASSED)
        record.write(model / str(number))
    for path in staged.rglob("*"):
        sync(path)
    sync(staged)


def _stage_model(model: Path, number: int, members: Sequence[Member], accepted: str) -> None:
    names = [CONFIG]
    folder, record = members[0]
    _copy(folder / artefact.LABELS_FILE, model, artefact.LABELS_FILE, names)
    engines = [member for member in members if member[1].engine]
    for folder, graph in members:
        if not graph.engine:
            record = graph
            _copy(folder / artefact.MODEL_FILE, model, f"{number}/{artefact.MODEL_FILE}", names)
    if engines:
        plans = [_stage_engine(model, number, member, names) for member in engines]
        with (model / CONFIG).open("a") as config:
            config.write(_engine_block(plans))
        unproved = any(plan.verdict != manifest.PASSED for plan in plans)
        record = replace(
            record,
            engine={
                "plans": [plan.as_dict() for plan in plans],
                "fallback": artefact.MODEL_FILE if len(engines) < len(members) else None,
            },
            verdict=artefact.NO_DEVICE if unproved else manifest.PASSED,
            accepted=accepted if unproved else "",
        )
    replace(record, files=manifest.hashes(model, names)).write(model / str(number))


def _stage_engine(model: Path, number: int, member: Member, names: list[str]) -> Plan:
    folder, record = member
    options = record.engine["options"]
    # The default is for every GPU that no other plan is for.
    file = artefact.PLAN_FILE if options["hardware_compatible"] else f"{record.engine['capability']}.plan"
    _copy(folder / artefact.PLAN_FILE, model, f"{number}/{file}", names)
    _copy(folder / manifest.FILE_NAME, model, f"{number}/{Path(file).stem}.json", names)
    for shared in (artefact.WEIGHTS_FILE, artefact.GOLDEN_FILE):
        if shared in record.files and f"{number}/{shared}" not in names:
            _copy(folder / shared, model, f"{number}/{shared}", names)
    return Plan(
        file=file,
        sha256=record.files[artefact.PLAN_FILE],
        verdict=record.verdict,
        **{name: record.engine[name] for name in ("capability", "provider", "version")},
        **{name: options[name] for name in ("hardware_compatible", "version_compatible")},
    )


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
        manifest.ManifestError: there is no engine.
    """
    found = {path.parent.name: manifest.read(path.parent) for path in sorted(artefacts.glob(f"*/{manifest.FILE_NAME}"))}
    engines = [name for name, record in found.items() if record.engine]
    if not engines:
        raise manifest.ManifestError(f"there is no engine in {artefacts}: build some with `make engines`")
    # INT8 falls back on the graph whose scheme is the processor's.
    precisions = {found[name].recipe["precision"] for name in engines}
    graphs = [FALLBACKS.get(precision, precision) for precision in sorted(precisions)]
    return [*engines, *(graphs if with_graphs else ())]


def without_engines(config: str) -> str:
    """A published configuration as it is for the graph to fall back on."""
    return config.partition(ENGINES)[0]


def _configure(source: Path, model: Path, values: dict[str, str]) -> None:
    model.mkdir(parents=True)
    (model / CONFIG).write_text(string.Template((source / CONFIG).read_text()).substitute(values))


def _copy(source: Path, model: Path, name: str, names: list[str]) -> None:
    shutil.copyfile(source, model / name)
    names.append(name)
