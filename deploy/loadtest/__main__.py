"""``make bench``: in-process and served, in one run, side by side. ``python -m deploy.loadtest --help``."""

from __future__ import annotations

import argparse
import json
import os
import sys
import time
from pathlib import Path

import numpy as np
from tqdm import tqdm

from alexnet_client.command import run
from alexnet_client.contract import ENSEMBLE, IMAGE, precision_model
from alexnet_client.files import atomic_path
from deploy.loadtest import busy
from deploy.loadtest.measurement import FILES, IN_PROCESS, TENSORS, Measurement, best, summarise, time_calls
from deploy.loadtest.perf_analyzer import measure
from deploy.loadtest.photograph import photograph
from deploy.serve.server import LocalServer
from export.runtimes.onnx import OnnxPredictor

BATCHES = (1, 8, 32)
CALLERS = (1, 8, 32, 64)
SATURATION = 32
BUILD = Path("build")
ARTEFACTS = {"int8": "int8-cpu", "fp32": "fp32"}


def main(arguments: list[str] | None = None) -> int:
    """Measure; returns the exit status: 0, or 1 with one line on standard error."""
    parser = argparse.ArgumentParser(prog="python -m deploy.loadtest", description=main.__doc__)
    parser.add_argument("--repository", type=Path, default=BUILD / "repository", help="(%(default)s)")
    parser.add_argument("--artefacts", type=Path, default=BUILD / "artefacts", help="(%(default)s)")
    parser.add_argument("--output", type=Path, default=BUILD / "bench" / "report.json", help="(%(default)s)")
    parser.add_argument("--rounds", type=int, default=3, help="each point once a round, medians count (%(default)s)")
    parser.add_argument("--seconds", type=float, default=3.0, help="a point and round (%(default)s)")
    options = parser.parse_args(arguments)
    return run("make bench", lambda: _bench(options))


def _bench(options: argparse.Namespace) -> int:
    rounds, shares = _measure(options)
    measurements = summarise(rounds)
    with atomic_path(options.output) as partial:
        partial.write_text(json.dumps([m.as_row() for m in measurements], indent=2) + "\n")
    _print(measurements, shares)
    print(f"\nevery figure: {options.output}")
    return 0


def _measure(options: argparse.Namespace) -> tuple[list[list[Measurement]], list[tuple[float, float, float]]]:
    """All points, once a round: noise of the machine meets them all alike."""
    predictors = {p: OnnxPredictor(options.artefacts / name / "model.onnx") for p, name in ARTEFACTS.items()}
    pixels = np.random.default_rng(0).integers(0, 256, (max(BATCHES), *IMAGE.shape), np.uint8)
    file, rounds, shares = photograph(), [], []
    points = options.rounds * (len(BATCHES) * len(ARTEFACTS) + 2 * len(CALLERS) + 1)
    with (
        LocalServer(options.repository, use_free_ports=True) as server,
        tqdm(total=points, desc="bench", unit="point") as bar,
    ):
        for _ in range(options.rounds):
            points_of_round: list[Measurement] = []
            for precision, predictor in predictors.items():
                for batch in BATCHES:
                    figures = time_calls(lambda p=predictor, b=batch: p(pixels[:b]), batch, options.seconds)  # type: ignore[misc]
                    points_of_round.append(Measurement(IN_PROCESS, precision_model(precision), *figures, batch=batch))
                    bar.update()
            loads = [(precision_model("int8"), callers) for callers in CALLERS]
            loads += [(precision_model("fp32"), SATURATION), *((ENSEMBLE, callers) for callers in CALLERS)]
            for model, callers in loads:
                before, started = busy.read(server.metrics_url, model), time.monotonic()
                points_of_round.append(measure(server.grpc_url, model, callers, options.seconds, file))
                spent = busy.read(server.metrics_url, model) - before
                if (model, callers) == (precision_model("int8"), SATURATION):
                    wall = time.monotonic() - started
                    shares.append((spent.images / spent.runs, spent.network / wall, spent.images / spent.network))
                bar.update()
            rounds.append(points_of_round)
    return rounds, shares


def _print(measurements: list[Measurement], shares: list[tuple[float, float, float]]) -> None:
    print(f"\n{'what':22}{'model':14}{'batch':>6}{'callers':>8}{'image/s':>9}{'p50 ms':>9}{'p99 ms':>9}")
    for m in measurements:
        print(
            f"{m.what:22}{m.model:14}{m.batch or '':>6}{m.callers or '':>8}{m.images_per_second:9.1f}"
            f"{m.p50_ms:9.1f}{m.p99_ms:9.1f}"
        )
    int8, fp32 = precision_model("int8"), precision_model("fp32")
    offline = best(measurements, IN_PROCESS, int8, max(BATCHES))
    print(f"\nratios (medians of one run; {os.cpu_count()} cores, VNNI: {'yes' if has_vnni() else 'no'})")
    print(f"  served INT8 tensors / in-process INT8 at batch 32: {best(measurements, TENSORS, int8) / offline:.2f}")
    print(f"  served JPEG files   / in-process INT8 at batch 32: {best(measurements, FILES, ENSEMBLE) / offline:.2f}")
    for batch in BATCHES:
        ratio = best(measurements, IN_PROCESS, int8, batch) / best(measurements, IN_PROCESS, fp32, batch)
        print(f"  INT8 / FP32 in process at batch {batch:2}:                 {ratio:.2f}")
    images, share, speed = np.median(shares, axis=0)
    print(
        f"where the rest goes, {SATURATION} callers of INT8 tensors: the network runs {100 * share:.0f} % of the time, "
        f"start and end of the load included, on {images:.0f} images at once, at {speed:.0f} image/s "
        f"({speed / offline:.2f} of its speed alone): callers and transport use the same cores meanwhile"
    )


def has_vnni() -> bool:
    """Whether this processor multiplies 8-bit numbers in one step (AVX512-VNNI or AVX-VNNI)."""
    try:
        return "vnni" in Path("/proc/cpuinfo").read_text()
    except OSError:
        return False


if __name__ == "__main__":
    sys.exit(main())
