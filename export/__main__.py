"""The exporter's command line: ``python -m export --help``."""

from __future__ import annotations

import argparse
import sys
from pathlib import Path

from export.quantize import SCHEMES

BUILD = Path("build")
DESCRIPTION = """\
Turn a checkpoint into proved artefacts and publish them as a Triton model repository.

  python -m export fp32                 checkpoint -> ONNX, uint8 pixels in, probabilities and embedding out
  python -m export fp16                 the same with float16 weights and arithmetic
  python -m export int8 --scheme cpu    FP32 artefact -> INT8 (Q/DQ), calibrated on real training images
  python -m export verify fp32 int8-cpu prove them on the whole test split; the verdict goes into the manifest
  python -m export publish              proved artefacts -> build/repository, switched live in one rename

Nothing unproved is published; there is no switch for that.
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
    for precision in ("fp32", "fp16"):
        commands.add_parser(precision, parents=[checkpoint, output], help=f"write the {precision.upper()} graph")
    int8 = commands.add_parser("int8", parents=[data, output], help="quantise the FP32 artefact")
    int8.add_argument("--scheme", choices=sorted(SCHEMES), default="cpu", help="whose kernels it is for (%(default)s)")
    int8.add_argument("--images", type=int, default=512, help="calibration images, at least 500 (%(default)s)")
    verify = commands.add_parser("verify", parents=[checkpoint, data, output], help="prove artefacts")
    verify.add_argument("artefacts", nargs="+", help="fp32, fp16, int8-cpu, int8-tensorrt")
    verify.add_argument(
        "--predictions", type=Path, default=BUILD / "predictions", help="where outputs are kept (%(default)s)"
    )
    publish = commands.add_parser("publish", parents=[output], help="publish proved artefacts")
    publish.add_argument("artefacts", nargs="*", default=["fp32", "int8-cpu"], help="which (fp32 int8-cpu)")
    publish.add_argument("--repository", type=Path, default=BUILD / "repository", help="the link (%(default)s)")
    publish.add_argument("--precision", default="int8", help="what answers behind the ensemble (%(default)s)")
    return root


def main(arguments: list[str] | None = None) -> int:
    """Run one command; returns the exit status: 0, or 1 with one line on standard error."""
    options = parser().parse_args(arguments)
    try:
        return _run(options)
    except (ValueError, OSError) as error:
        print(f"python -m export {options.command}: {error}", file=sys.stderr)
        return 1


def _run(options: argparse.Namespace) -> int:
    if options.command == "publish":
        from export.publish import publish  # noqa: PLC0415  each command imports what it needs: torch takes seconds

        folders = [options.output / name for name in options.artefacts]
        number = publish(options.repository, folders, options.precision)
        print(f"{options.repository} serves release {number}: {', '.join(options.artefacts)}")
        return 0
    if options.command == "verify":
        return _verify(options)
    from export.build import build_float, build_int8  # noqa: PLC0415

    if options.command == "int8":
        record = build_int8(options.data, options.output, options.scheme, options.images)
    else:
        record = build_float(options.checkpoint, options.output, options.command)
    print(f"{record.model}: {record.verdict}")
    return 0


def _verify(options: argparse.Namespace) -> int:
    from export.verify import verify  # noqa: PLC0415
    from training.images import open_split  # noqa: PLC0415

    images = open_split(options.data, "test")
    failed = 0
    for name in options.artefacts:
        record = verify(options.output / name, options.checkpoint, images, options.predictions)
        accuracy, parity = record.accuracy, record.parity
        print(
            f"{name}: top-1 {accuracy['top1']:.2f} %, top-5 {accuracy['top5']:.2f} % on {accuracy['images']:,} images; "
            f"against {parity['reference']}: max |Δp| {parity['max_abs_dp']:.1e}, "
            f"agreement {parity['agreement']:.2f} %, embedding cosine {parity['cosine']:.4f}: {record.verdict}"
        )
        failed += record.verdict != "passed"
    return 1 if failed else 0


def _option(name: str, default: Path, text: str) -> argparse.ArgumentParser:
    parent = argparse.ArgumentParser(add_help=False)
    parent.add_argument(name, type=Path, default=default, help=f"{text} (%(default)s)")
    return parent


if __name__ == "__main__":
    sys.exit(main())
