"""The training command line: ``python -m training --help``."""

from __future__ import annotations

import argparse
import sys
from dataclasses import replace
from math import ceil
from pathlib import Path

from alexnet_client.command import run

BUILD = Path("build")
DESCRIPTION = """\
Make AlexNet's weights.

  python -m training fetch fashion-mnist             the data set, checked by its SHA-256
  python -m training train --recipe demo             recipe + data -> build/checkpoint; run again to go on
  python -m training train --recipe transfer --data pets
                                                     your own pictures, pets/<class>/*.jpg; sizes follow them
  python -m training evaluate                        top-1, top-5, per class, confusion matrix on the test split
  python -m training bench --data /data/imagenet     how fast images are read, and how many cores a GPU would want
  python -m training import --weights alexnet.pth --labels imagenet
                                                     public weights in torchvision's format -> checkpoint, no training

Many devices: torchrun --nproc-per-node 8 -m training train --recipe imagenet --data /data/imagenet
Recipes are the files in training/recipes; --recipe takes a path too. training/README.md has their keys.
"""


def parser() -> argparse.ArgumentParser:
    """The commands and their options."""
    root = argparse.ArgumentParser(
        prog="python -m training", description=DESCRIPTION, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    commands = root.add_subparsers(dest="command", required=True, metavar="COMMAND")
    fetch = commands.add_parser("fetch", help="fetch a data set")
    fetch.add_argument("dataset", choices=["fashion-mnist"])
    fetch.add_argument("--output", type=Path, default=BUILD / "fashion-mnist", help="folder (%(default)s)")
    train = commands.add_parser("train", help="train by a recipe")
    train.add_argument("--recipe", default="demo", help="name of a recipe, or path of a .toml file (%(default)s)")
    train.add_argument("--seed", type=int, help="instead of the recipe's")
    train.add_argument("--output", type=Path, default=BUILD / "checkpoint", help="folder (%(default)s)")
    train.add_argument(
        "--workers", type=_count, metavar="N", help="processes that decode images, 0 for none (one a core)"
    )
    evaluate = commands.add_parser("evaluate", help="evaluate a checkpoint")
    evaluate.add_argument("--checkpoint", type=Path, default=BUILD / "checkpoint", help="folder (%(default)s)")
    evaluate.add_argument("--split", default="test", help="(%(default)s)")
    evaluate.add_argument("--output", type=Path, default=BUILD / "evaluation", help="folder (%(default)s)")
    evaluate.add_argument(
        "--predictions", type=Path, default=BUILD / "predictions", help="where outputs are kept (%(default)s)"
    )
    bench = commands.add_parser("bench", help="measure how fast images are read")
    bench.add_argument("--recipe", default="imagenet", help="whose batches are read (%(default)s)")
    bench.add_argument("--images", type=_count, default=4096, metavar="N", help="images a measurement (%(default)s)")
    bench.add_argument(
        "--workers", type=_count, nargs="+", default=[1, 2], metavar="N", help="processes that decode (1 2)"
    )
    for command in (train, evaluate, bench):
        command.add_argument(
            "--data", type=Path, default=BUILD / "fashion-mnist", help="Fashion-MNIST or image folder (%(default)s)"
        )
    imported = commands.add_parser("import", help="make a checkpoint of public weights")
    imported.add_argument("--weights", required=True, help=".pth or .safetensors, torchvision's names")
    imported.add_argument("--labels", required=True, help="imagenet, or a text file with one label a line, in order")
    imported.add_argument("--output", type=Path, default=BUILD / "checkpoint", help="folder (%(default)s)")
    return root


def _count(text: str) -> int:
    if not text.isdecimal():
        raise argparse.ArgumentTypeError(f"got {text!r}: want 0 or more")
    return int(text)


def main(arguments: list[str] | None = None) -> int:
    """Run one command; returns the exit status: 0, or 1 with one line on standard error."""
    options = parser().parse_args(arguments)
    body = {"fetch": _fetch, "train": _train, "evaluate": _evaluate, "bench": _bench, "import": _import}[
        options.command
    ]
    return run(f"python -m training {options.command}", lambda: body(options), "interrupted; run it again to go on")


# Each command imports what it needs: torch takes seconds.


def _fetch(options: argparse.Namespace) -> int:
    from training.data.fashion_mnist import FashionMnist, fetch  # noqa: PLC0415

    fetch(options.output)
    for split in ("train", "test"):
        images = FashionMnist(options.output, split)
        print(f"{images.name}: {len(images):,} images in {len(images.labels)} classes, SHA-256 {images.sha256[:16]}…")
    return 0


def _train(options: argparse.Namespace) -> int:
    from training import recipe, train  # noqa: PLC0415
    from training.data.open import count_labelled, open_labelled  # noqa: PLC0415
    from training.fit.distributed import group  # noqa: PLC0415

    def chosen(images: int) -> recipe.Recipe:
        found = recipe.load(options.recipe, images)
        return found if options.seed is None else replace(found, seed=options.seed)

    with group() as here:
        files = count_labelled(options.data, "train")
        train.check(chosen(files), files, f"{options.data.name}/train", here.size)
        images = open_labelled(options.data, "train")
        train.train(chosen(len(images)), images, options.output, here, options.workers)
        if here.first:
            print(f"checkpoint in {options.output}, curve in {options.output / train.CURVE_FILE}")
    return 0


def _evaluate(options: argparse.Namespace) -> int:
    from training import checkpoint  # noqa: PLC0415
    from training.data.labels import labelled_as  # noqa: PLC0415
    from training.data.open import open_labelled  # noqa: PLC0415
    from training.evaluate import score, write  # noqa: PLC0415
    from training.pictures import draw_confusion  # noqa: PLC0415
    from training.predictions import cached, predict_key  # noqa: PLC0415
    from training.torch_predictor import TorchPredictor  # noqa: PLC0415

    source = checkpoint.load(options.checkpoint)
    images = labelled_as(open_labelled(options.data, options.split), source.meta.labels, options.checkpoint)
    predictor = TorchPredictor(source.model, source.sha256)
    outputs, targets = cached(options.predictions, predict_key(predictor.identity), predictor, images, "PyTorch")
    evaluation = score(outputs.probabilities, targets, source.meta.labels)
    draw_confusion(evaluation, options.output / "confusion.png")
    write(evaluation, options.output / "evaluation.json")
    print(
        f"top-1 {evaluation.top1:.2f} %, top-5 {evaluation.top5:.2f} % on {evaluation.images:,} images of {images.name}"
    )
    for label, accuracy in evaluation.per_class.items():
        print(f"  {label:12} {'no image' if accuracy is None else f'{accuracy:.1f} %'}")
    return 0


def _bench(options: argparse.Namespace) -> int:
    from training import bench, recipe  # noqa: PLC0415
    from training.data.open import open_labelled  # noqa: PLC0415
    from training.fit.distributed import group  # noqa: PLC0415
    from training.fit.run import Run  # noqa: PLC0415

    images = open_labelled(options.data, "train")
    chosen = recipe.load(options.recipe, len(images))
    with group() as here:
        readings = [
            bench.measure(images, Run(chosen, here, options.data, options.data, workers), options.images)
            for workers in options.workers
        ]
    print(f"{options.images:,} of {images.name}, decoded, augmented on {here.device}:")
    print(bench.table(readings))
    cpu = bench.decoding(images)
    print(
        f"An image takes {1e3 * cpu:.2f} ms of a core to decode: a GPU that learns from {bench.WANTED:,} a second "
        f"wants {ceil(bench.WANTED * cpu)} such cores"
    )
    return 0


def _import(options: argparse.Namespace) -> int:
    from training import checkpoint, pretrained  # noqa: PLC0415
    from training.data.labels import IMAGENET, read_labels  # noqa: PLC0415
    from training.model import AlexNet  # noqa: PLC0415

    labels = read_labels(IMAGENET if options.labels == "imagenet" else Path(options.labels))
    network = AlexNet("owt", len(labels))
    pretrained.initialise(network, options.weights, whole=True)
    checkpoint.save(options.output, network, checkpoint.Meta("owt", labels, git_commit=checkpoint.git_commit()))
    print(f"checkpoint in {options.output}: {len(labels):,} classes")
    return 0


if __name__ == "__main__":
    sys.exit(main())
