"""The command line: ``alexnet-client --help``."""

from __future__ import annotations

import argparse
import json
import sys
from dataclasses import asdict
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from alexnet_client import AlexNetClient
from alexnet_client._options import DEFAULT_TIMEOUT, DEFAULT_URL
from alexnet_client.command import run
from alexnet_client.contract import DEFAULT_MODEL, SERVED_MODELS
from alexnet_client.files import atomic_path

EPILOG = """\
examples:
  alexnet-client classify boot.png shirt.jpg
  alexnet-client classify --json --top-k 1 *.png
  alexnet-client embed --output vectors.npy *.png
  alexnet-client health

exit status: 0 all is well; 1 the server failed; 2 wrong usage or an image that cannot be used;
             3 the server cannot be reached or is not ready; 4 no answer in time
"""


def parser() -> argparse.ArgumentParser:
    """The commands and their options."""
    root = argparse.ArgumentParser(
        prog="alexnet-client",
        description="Classify and embed images with a served AlexNet.",
        epilog=EPILOG,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    commands = root.add_subparsers(dest="command", required=True, metavar="COMMAND")
    classify = commands.add_parser("classify", help="print the most probable classes of images")
    classify.add_argument("--top-k", type=int, default=5, help="classes an image (%(default)s)")
    classify.add_argument("--json", action="store_true", help="one JSON object a line, an image each")
    embed = commands.add_parser("embed", help="write embeddings as a .npy file, float32[N, 4096]")
    embed.add_argument("--output", type=Path, required=True, help="the file to write")
    health = commands.add_parser("health", help="ask whether the server is ready, and what it serves")
    health.add_argument("--json", action="store_true", help="one JSON object")
    for command in (classify, embed):
        command.add_argument("images", nargs="+", help="JPEG, PNG, WebP or GIF files")
        command.add_argument(
            "--model",
            default=DEFAULT_MODEL,
            help=f"one of {', '.join(SERVED_MODELS)} (%(default)s, decodes on the server)",
        )
    for command in (classify, embed, health):
        command.add_argument("--url", default=DEFAULT_URL, help="host:port of Triton's gRPC endpoint (%(default)s)")
        command.add_argument("--timeout", type=float, default=DEFAULT_TIMEOUT, help="seconds a request (%(default)s)")
    return root


def main(arguments: list[str] | None = None) -> int:
    """Run one command; errors are one line on standard error."""
    options = parser().parse_args(arguments)
    return run("alexnet-client", lambda: _run(options))


def _run(options: argparse.Namespace) -> int:
    if options.command == "health":
        with AlexNetClient(options.url, timeout=options.timeout) as client:
            health = client.health()
        if options.json:
            print(json.dumps(asdict(health)))
        else:
            print(f"{health.server} {health.version} at {options.url}: {'ready' if health.ready else 'not ready'}")
            print(f"models: {', '.join(health.models) or 'none'}")
        return 0 if health.ready and health.models else 3
    with AlexNetClient(options.url, options.model, options.timeout) as client:
        if options.command == "embed":
            _save(options.output, client.embed(options.images))
            return 0
        for path, predictions in zip(options.images, client.classify(options.images, options.top_k), strict=True):
            if options.json:
                print(json.dumps({"image": path, "predictions": [asdict(p) for p in predictions]}))
            else:
                print(f"{path}: {', '.join(f'{p.label} {p.probability:.4f}' for p in predictions)}")
    return 0


def _save(path: Path, vectors: NDArray[np.float32]) -> None:
    with atomic_path(path) as partial, partial.open("wb") as file:
        np.save(file, vectors)
    print(f"{path}: {vectors.dtype}{list(vectors.shape)}")


if __name__ == "__main__":
    sys.exit(main())
