"""The commands about engines: ``engine``, ``inspect``, ``prove``."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence
from pathlib import Path

from export.artefacts import artefact, manifest
from export.engines import layers
from export.engines.build import build_engine, target
from export.engines.builder import EngineError, Options, Profile
from export.engines.gpu import capability, installed
from export.engines.plans import fitting, prove_published
from export.engines.provider import find
from export.proof import golden
from export.proof.proof import Verdict

ROW = "{:24}{:>9}{:>9}  {:28}{}"


def engine(options: argparse.Namespace) -> int:
    """Build every graph for every GPU, and print a table."""
    provider = find(options.provider)
    gpu = installed()
    print(f"{provider}, GPU here: {gpu or 'none'}", file=sys.stderr)
    how = Options(
        profiles=tuple(Profile.parse(text) for text in options.profile),
        workspace=options.workspace,
        version_compatible=options.version_compatible,
        hardware_compatible=options.hardware_compatible,
        stripped=options.stripped,
    )
    wanted = [target(provider, capability(text) if text else None, gpu) for text in options.gpu]
    rows = []
    for graph in options.graphs:
        for each in wanted:
            record, built = build_engine(options.output / graph, options.output, provider, each, how)
            rows.append((f"{graph}-{each}", record, built))
    print(ROW.format("engine", "MB", "build s", "layers that multiply", "verdict"))
    for name, record, built in rows:
        facts = _facts(name, record)
        seconds = f"{facts.seconds:.1f}" if built else "kept"
        precisions = ", ".join(f"{count} {precision}" for precision, count in facts.precisions.items())
        print(ROW.format(name, f"{facts.bytes / 1e6:.1f}", seconds, precisions or "unknown", record.proof))
        _report_others(options.output / name, record)
    return 0


def inspect(options: argparse.Namespace) -> int:
    """Print the layers of engines."""
    for name in options.artefacts:
        record = artefact.read(options.output / name)
        facts = _facts(name, record)
        print(f"{name}: {facts.provider} {facts.version}, {facts.capability}, {record.proof}")
        for layer in layers.load((options.output / name / artefact.LAYERS_FILE).read_text()):
            print(f"  {layer.kind:13}{layer.precision:7}{layer.name[:48]:50}{layer.format:36}{layer.tactic}")
        _report_others(options.output / name, record)
    return 0


def prove(options: argparse.Namespace) -> int:
    """Prove the engines of a published repository that are for this GPU; returns 1 when one failed."""
    gpu = installed()
    if gpu is None:
        print("there is no GPU here: engines are proved where they are loaded", file=sys.stderr)
        return 1
    verdicts = {}
    for path in sorted(Path(options.repository).resolve().glob(f"*/[0-9]*/{manifest.FILE_NAME}")):
        record = manifest.read(path.parent)
        plan = fitting(record, gpu)
        if plan is not None:
            verdicts[record.model] = prove_published(path.parent, record, plan, gpu, golden.Proofs(options.proofs))
            print(f"{record.model}: {plan.file} on {gpu}: {verdicts[record.model]}")
    return 0 if all(verdict == Verdict.PASSED for verdict in verdicts.values()) else 1


def _facts(name: str, record: manifest.Manifest) -> manifest.Engine:
    if record.engine is None:
        raise EngineError(f"{name} is no engine, it is the graph {artefact.MODEL_FILE}: name one as {name}-sm89")
    return record.engine


def _report_others(folder: Path, record: manifest.Manifest) -> None:
    """Which layers do not run in the precision that the engine is named after."""
    precision = record.precision.upper()
    found: Sequence[layers.Layer] = layers.load((folder / artefact.LAYERS_FILE).read_text())
    for layer in layers.others_than(precision, found):
        print(f"  not {precision}: {layer.kind} {layer.name} runs in {layer.precision}, {layer.tactic}, {layer.format}")
