"""The exporter's command line: ``python -m export --help``."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

from alexnet_client.command import run
from alexnet_client.contract import PRECISIONS
from export import remedy
from export.engines.provider import PROVIDERS
from export.graphs.calibration import METHODS
from export.graphs.int8_onnx import SCHEMES
from export.proof.limits import CALIBRATION_IMAGES, FEWEST_CALIBRATION_IMAGES
from export.proof.proof import Proof
from export.publish import KEPT

BUILD = Path("build")
DESCRIPTION = """\
Turn a checkpoint into proved artefacts and publish them as a Triton model repository.

  python -m export fp32                 checkpoint -> ONNX, uint8 pixels in, probabilities and embedding out
  python -m export fp16                 the same with float16 weights and arithmetic
  python -m export int8 --scheme cpu    FP32 artefact -> INT8 (Q/DQ), calibrated on real training images
  python -m export fp8                  FP32 artefact -> FP8 (E4M3 Q/DQ), for GPUs from Ada on
  python -m export calibrate            every calibration method for either scheme, as a table of accuracies
  python -m export engine fp16 --gpu sm89   graph -> TensorRT plan, for one kind of GPU that need not be here
  python -m export verify fp32 int8-cpu prove them on the whole test split; the verdict goes into the manifest
  python -m export publish              proved artefacts -> build/repository, switched live in one rename
  python -m export prove                on a GPU: run the golden batch through the published engines for it
  python -m export inspect fp16-sm89    an engine's layers: precision, tactic, format

Nothing unproved is published; there is no switch for that. An engine whose GPU is not here can only be built:
publishing it takes a reason that is recorded, and it is proved where it is first loaded.
"""


def parser() -> argparse.ArgumentParser:
    """The commands and their options."""
    root = argparse.ArgumentParser(
        prog="python -m export", description=DESCRIPTION, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    commands = root.add_subparsers(dest="command", required=True, metavar="COMMAND")
    checkpoint = _option("--checkpoint", BUILD / "checkpoint", "folder with model.safetensors and meta.json")
    data = _option("--data", BUILD / "fashion-mnist", "folder of the data set")
    output = _option("--output", BUILD / "artefacts", "folder of the artefacts, one folder each")
    repository = _option("--repository", BUILD / "repository", "the link to the live release")
    for precision in ("fp32", "fp16"):
        commands.add_parser(precision, parents=[checkpoint, output], help=f"write the {precision.upper()} graph")
    int8 = commands.add_parser("int8", parents=[data, output], help="quantise the FP32 artefact")
    int8.add_argument("--scheme", choices=sorted(SCHEMES), default="cpu", help="whose kernels it is for (%(default)s)")
    int8.add_argument("--method", choices=METHODS, help="how activations' ranges are found (the scheme's best)")
    fp8 = commands.add_parser(
        "fp8", parents=[data, output], help="the FP32 artefact in FP8 (E4M3), for GPUs from Ada on"
    )
    for quantised in (int8, fp8):
        quantised.add_argument(
            "--images",
            type=int,
            default=CALIBRATION_IMAGES,
            help=f"calibration images, or all there are; at least {FEWEST_CALIBRATION_IMAGES} (%(default)s)",
        )
    kept = _option("--predictions", BUILD / "predictions", "where outputs are kept")
    verify = commands.add_parser("verify", parents=[checkpoint, data, output, kept], help="prove artefacts")
    verify.add_argument("artefacts", nargs="+", help="fp32, fp16, int8-cpu, int8-tensorrt, fp16-sm89...")
    calibrate = commands.add_parser(
        "calibrate", parents=[checkpoint, data, output, kept], help="compare the calibration methods"
    )
    calibrate.add_argument("--scheme", nargs="+", choices=sorted(SCHEMES), default=sorted(SCHEMES), help="which (both)")
    calibrate.add_argument("--method", nargs="+", choices=METHODS, default=METHODS, help="which (all)")
    publish = commands.add_parser("publish", parents=[output, repository], help="publish proved artefacts")
    publish.add_argument("artefacts", nargs="*", help="which; by default those of the target")
    publish.add_argument(
        "--target",
        choices=("cpu", "gpu"),
        default="cpu",
        help="cpu: fp32, and what answers (int8-cpu); gpu: all engines there are (cpu)",
    )
    publish.add_argument("--fallback", action="store_true", help="with engines, the graphs that serve where none fits")
    publish.add_argument(
        "--accept-unproved", metavar="REASON", default="", help="publish engines that were never on their GPU"
    )
    publish.add_argument(
        "--precision", choices=PRECISIONS, default="int8", help="what answers behind the ensemble (%(default)s)"
    )
    publish.add_argument(
        "--no-switch", action="store_true", help="the link stays: to be tried first; the same without it goes live"
    )
    publish.add_argument(
        "--keep", type=int, default=KEPT, metavar="N", help="releases that stay, with the new one (%(default)s)"
    )
    prove = commands.add_parser("prove", parents=[repository], help="prove published engines on this GPU")
    prove.add_argument("--proofs", type=Path, default=BUILD / "proofs", help="where verdicts are kept (%(default)s)")
    inspect = commands.add_parser("inspect", parents=[output], help="show an engine's layers")
    inspect.add_argument("artefacts", nargs="+", help="fp16-sm89...")
    _add_engine(commands, output)
    return root


def _add_engine(commands: Any, output: argparse.ArgumentParser) -> None:
    engine = commands.add_parser("engine", parents=[output], help="build TensorRT engines")
    engine.add_argument("graphs", nargs="+", help="fp32, fp16, int8-tensorrt, fp8")
    engine.add_argument(
        "--gpu", nargs="+", default=[None], metavar="SM", help="compute capabilities, as sm89 (this GPU's)"
    )
    engine.add_argument("--provider", choices=PROVIDERS, help="which library (the first that is installed)")
    engine.add_argument(
        "--profile", nargs="+", default=["1:32:128"], metavar="MIN:OPT:MAX", help="batch sizes (1:32:128)"
    )
    engine.add_argument("--workspace", type=int, metavar="MIB", help="scratch memory for a tactic (all there is)")
    engine.add_argument("--version-compatible", action="store_true", help="runs on later versions of the library too")
    engine.add_argument("--hardware-compatible", action="store_true", help="runs on every GPU from Ampere on")
    engine.add_argument("--stripped", action="store_true", help="a plan without weights, which are given at load")


def main(arguments: list[str] | None = None) -> int:
    """Run one command; returns the exit status: 0, or 1 with one line on standard error."""
    options = parser().parse_args(arguments)
    return run(
        f"python -m export {options.command}", lambda: _run(options), "interrupted, nothing half-written is left"
    )


def _run(options: argparse.Namespace) -> int:
    if options.command == "publish":
        from export.publish import publish  # noqa: PLC0415  each command imports what it needs: torch takes seconds

        folders = [options.output / name for name in options.artefacts or _of_target(options)]
        number = publish(
            options.repository,
            folders,
            options.precision,
            options.accept_unproved,
            live=not options.no_switch,
            keep=options.keep,
        )
        says = "has" if options.no_switch else "serves"
        print(f"{options.repository} {says} release {number}: {', '.join(folder.name for folder in folders)}")
        return 0
    if options.command in ("engine", "inspect", "prove"):
        from export.engines import commands as engine_commands  # noqa: PLC0415

        command: Callable[[argparse.Namespace], int] = getattr(engine_commands, options.command)
        return command(options)
    if options.command == "verify":
        return _verify(options)
    if options.command == "calibrate":
        from export.proof.calibration_table import write_table  # noqa: PLC0415

        where = (options.data, options.output, options.checkpoint, options.predictions)
        print(write_table(*where, options.scheme, options.method))
        return 0
    from export.build import build_float, build_fp8, build_int8  # noqa: PLC0415

    if options.command == "int8":
        record = build_int8(options.data, options.output, options.scheme, options.images, options.method)
    elif options.command == "fp8":
        record = build_fp8(options.data, options.output, options.images)
    else:
        record = build_float(options.checkpoint, options.output, options.command)
    calibration = record.recipe.calibration if record.recipe else None
    on = f"calibrated on {calibration.images:,} images; " if calibration else ""
    print(f"{record.model}: {on}{record.proof}")
    return 0


def _of_target(options: argparse.Namespace) -> list[str]:
    """The artefacts that a target publishes."""
    if options.target == "cpu":
        return list(dict.fromkeys([remedy.ON_CPU["fp32"], remedy.ON_CPU[options.precision]]))
    from export.release import engines_in  # noqa: PLC0415

    return engines_in(options.output, with_graphs=options.fallback)


def _verify(options: argparse.Namespace) -> int:
    from export.proof.verify import verify  # noqa: PLC0415
    from training.data.open import open_split  # noqa: PLC0415

    images = open_split(options.data, "test")
    failed = 0
    for name in options.artefacts:
        record = verify(options.output / name, options.checkpoint, images, options.predictions)
        proof = record.proof
        print(f"{name}: {_sentence(proof)}{proof}")
        for check in proof.checks:
            print(f"  {check}")
        if proof.verdict == "failed":
            failed += 1
            print("  what to do next, any of these:")
            for each in remedy.of_failed(record, options.data):
                print(f"  - {each}")
    return 1 if failed else 0


def _sentence(proof: Proof) -> str:
    if proof.comparison is None or proof.reference is None or proof.data is None:
        return ""
    accuracy, figures = proof.accuracy, proof.comparison
    measured = f"top-1 {accuracy.top1:.2f} %, top-5 {accuracy.top5:.2f} %" if accuracy else "accuracy: not measured"
    return (
        f"{measured} on {proof.data.images:,} images; against {proof.reference.name}: max |Δp| "
        f"{figures.max_abs_dp:.1e}, agreement {figures.agreement:.2f} %, embedding cosine {figures.cosine:.4f}: "
    )


def _option(name: str, default: Path, text: str) -> argparse.ArgumentParser:
    parent = argparse.ArgumentParser(add_help=False)
    parent.add_argument(name, type=Path, default=default, help=f"{text} (%(default)s)")
    return parent


if __name__ == "__main__":
    sys.exit(main())
