"""``python -m deploy.loadtest configure``: is there a better configuration for this machine?"""

from __future__ import annotations

import argparse
import json
import sys

import numpy as np
from tqdm import tqdm

from alexnet_client.files import atomic_path
from deploy.loadtest.configure.configure import DELAYS, INSTANCES, QUICK, THOROUGH, candidates, configure
from deploy.loadtest.number import COUNT, WHOLE

#: Of the test split, evenly spread.
IMAGES = 256


def add_options(parser: argparse.ArgumentParser) -> None:
    """Those of the search alone."""
    parser.add_argument("--delays", type=WHOLE, nargs="+", default=DELAYS, metavar="US", help="(%(default)s)")
    parser.add_argument("--instances", type=COUNT, nargs="+", default=INSTANCES, metavar="N", help="(%(default)s)")
    parser.add_argument(
        "--quick", action="store_true", help=f"coarser, shorter, fewer rounds, {QUICK.budget / 60:.0f} minutes at most"
    )


def run(options: argparse.Namespace) -> tuple[str, int]:
    """Search; what to print, and the exit status, which is 0 whatever is best.

    Raises:
        alexnet_client.AlexNetError: something is missing, or does not answer.
    """
    from training.data.batches import batches  # noqa: PLC0415  no image of the server has it
    from training.data.open import open_split  # noqa: PLC0415

    split = open_split(options.data, "test")
    chosen = np.linspace(0, len(split) - 1, min(IMAGES, len(split))).astype(int)
    ((pixels, _),) = batches(split, len(chosen), indices=chosen, description="answers")
    others = candidates(options.delays, options.instances)
    effort = QUICK if options.quick else THOROUGH
    with tqdm(desc="configure", unit="run", file=sys.stderr) as bar:

        def heard(what: str) -> None:
            bar.update()
            bar.set_postfix_str(what)

        choice = configure(options.repository, options.model, pixels, others, options.p99 / 1000, effort, heard)
    output = options.output / "configure.json"
    with atomic_path(output) as partial:
        partial.write_text(json.dumps(choice.as_json(), indent=2) + "\n")
    return f"{choice}\n\nevery figure: {output}", 0
