"""``make engines``: TensorRT engines for five kinds of GPU from the demo's checkpoint, without a GPU."""

from __future__ import annotations

import argparse
import sys
from pathlib import Path

from alexnet_client import command
from deploy.pipeline import stages as pipeline
from deploy.pipeline.stage import run

#: The demo's stages that engines need.
SHARED = ("dataset", "training", "export-fp32")


def main() -> int:
    """Run what has changed of the pipeline, up to engines."""
    parser = argparse.ArgumentParser(prog="python -m deploy.demo.engines", description=main.__doc__)
    parser.add_argument("--recipe", default="demo", help="training recipe (%(default)s)")
    parser.add_argument("--data", type=Path, default=pipeline.DATA, help="data set (%(default)s)")
    options = parser.parse_args()
    return command.run("make engines", lambda: _build(options), "interrupted; run it again to go on from here")


def _build(options: argparse.Namespace) -> int:
    shared = [stage for stage in pipeline.stages(options.recipe, options.data) if stage.name in SHARED]
    for stage in (*shared, *pipeline.engine_stages(options.data)):
        run(stage, pipeline.DEMO / "stages")
    print(
        f"\nmake engines: done, in {pipeline.ARTEFACTS}. Built, and not proved without their GPUs. To publish:\n"
        "  python -m export publish --target gpu --fallback --accept-unproved 'REASON'"
    )
    return 0


if __name__ == "__main__":
    sys.exit(main())
