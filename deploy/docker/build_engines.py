"""``build-engines``: graphs -> engines for the GPU that is here, proved on it, published. An init container or a Job.

Engines are kept by what decides them, the graph's SHA-256, the GPU and the library's version, so that the second pod
on a node builds nothing. The cache is a folder: a volume of the node, or one that pods share.
"""

from __future__ import annotations

import argparse
import re
import signal
import sys
import tempfile
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

from alexnet_client.command import run
from alexnet_client.fingerprint import preprocessing_fingerprint
from export.artefacts import artefact, manifest
from export.engines.build import build_engine, folder_name
from export.engines.builder import Options
from export.engines.gpu import Gpu, installed
from export.engines.provider import Provider, find
from export.proof import golden
from export.proof.compare import compare
from export.proof.limits import limits
from export.proof.lineage import check_proved
from export.proof.proof import Data, Proof, verdict_on
from export.publish import publish
from export.release import engines_in
from export.runtimes.engine import EngineRuntime
from export.runtimes.runtime import RuntimeFailure

GRAPHS = ("fp16", "int8-tensorrt")


def cached_engine(graph: Path, cache: Path, provider: Provider, gpu: Gpu) -> Path:
    """The folder of a proved engine of the graph artefact in ``graph``, built and proved now if it is not there.

    Raises:
        manifest.ManifestError: the graph is no artefact, was never verified, or its engine answers wrongly.
        export.engines.builder.EngineError: no engine can be built.
        export.runtimes.engine.RuntimeFailure: the engine does not run.
    """
    parent = artefact.read(graph)
    check_proved(str(graph), parent)
    key = re.sub(r"[^\w.]+", "-", f"{parent.files[artefact.MODEL_FILE][:16]}-{gpu.name}-{provider.version}").lower()
    record, built = build_engine(graph, cache / key, provider, gpu.capability, Options())
    folder = cache / key / folder_name(graph.name, gpu.capability)
    if not record.proof.passed:
        record = _prove(folder, record, provider)
    print(f"{folder.name}: {'built' if built else 'kept'}, {record.proof} on {gpu}", file=sys.stderr)
    if not record.proof.passed:
        raise manifest.ManifestError(f"{folder.name} may not serve, its verdict on {gpu} is «{record.proof}»")
    return folder


def _prove(folder: Path, record: manifest.Manifest, provider: Provider) -> manifest.Manifest:
    images, reference = golden.read(folder / artefact.GOLDEN_FILE)
    with EngineRuntime(provider, folder / artefact.PLAN_FILE) as runtime:
        comparison, identity = compare(reference, runtime(images)), runtime.identity
    kept = limits(record)
    verdict, reasons = verdict_on(comparison, kept)
    proof = Proof(
        verdict,
        reasons,
        runtime=identity,
        preprocessing=preprocessing_fingerprint(),
        data=Data("golden batch", record.files[artefact.GOLDEN_FILE], len(images)),
        comparison=comparison,
        limits=kept,
    )
    proved = replace(record, proof=proof)
    proved.write(folder)
    return proved


def collect(artefacts: Path, engines: Sequence[Path], target: Path) -> list[str]:
    """Lay engines and what they fall back on side by side in ``target``; returns the names to publish."""
    for engine in engines:
        (target / engine.name).symlink_to(engine.resolve())
    names = engines_in(target, with_graphs=True)
    for name in set(names) - {engine.name for engine in engines}:
        if (artefacts / name).is_dir():
            (target / name).symlink_to((artefacts / name).resolve())
    return [name for name in names if (target / name).is_dir()]


def main(arguments: list[str] | None = None) -> int:
    """Build, prove and publish; returns the exit status: 0, or 1 with one line on standard error."""
    parser = argparse.ArgumentParser(prog="build-engines", description=main.__doc__)
    parser.add_argument("--artefacts", type=Path, default=Path("/artefacts"), help="verified graphs (%(default)s)")
    parser.add_argument("--cache", type=Path, default=Path("/cache"), help="engines, kept (%(default)s)")
    parser.add_argument("--repository", type=Path, default=Path("/models/live"), help="published here (%(default)s)")
    parser.add_argument("--graphs", nargs="+", default=GRAPHS, help=f"which ({' '.join(GRAPHS)})")
    parser.add_argument("--precision", default="int8", help="what answers behind the ensemble (%(default)s)")
    options = parser.parse_args(arguments)
    signal.signal(signal.SIGTERM, signal.default_int_handler)
    return run("build-engines", lambda: _build(options), "interrupted; run it again to go on from here")


def _build(options: argparse.Namespace) -> int:
    gpu = installed()
    if gpu is None:
        raise RuntimeFailure("this machine has no GPU: run it where the engines will serve, or use `make engines`")
    provider = find()
    print(f"{provider}, {gpu}", file=sys.stderr)
    engines = [cached_engine(options.artefacts / name, options.cache, provider, gpu) for name in options.graphs]
    # On the cache's disk, and each run's own.
    with tempfile.TemporaryDirectory(dir=options.cache, prefix=".staging-") as name:
        staging = Path(name)
        names = collect(options.artefacts, engines, staging)
        folders = [staging / name for name in names]
        number = publish(options.repository, folders, options.precision, near=[options.artefacts])
    print(f"{options.repository} serves release {number}: {', '.join(names)}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
