"""Engines on this GPU: do they load, how fast are they, beside PyTorch in FP16 and beside the roofline.

``python -m deploy.loadtest.gpu`` after ``python -m export engine``. Parity and accuracy: ``python -m export verify``.
"""

from __future__ import annotations

import argparse
import json
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pynvml
import torch

from alexnet_client.command import run
from alexnet_client.contract import IMAGE, MAX_BATCH
from alexnet_client.errors import AlexNetError
from alexnet_client.files import atomic_path
from deploy.loadtest import torch_fp16
from deploy.loadtest.measurement import Measurement, summarise, time_calls
from deploy.loadtest.number import COUNT, POSITIVE
from deploy.loadtest.roofline import Roof, macs
from export.artefacts import artefact, manifest
from export.engines.gpu import Gpu, UnknownGpu, installed
from export.engines.provider import Provider, find
from export.runtimes.engine import EngineRuntime
from export.runtimes.runtime import RuntimeFailure
from training import checkpoint
from training.model import AlexNet

BATCHES = (1, 8, 32, MAX_BATCH)
BASELINES = {"PyTorch, CUDA graph": torch_fp16.recorded, "PyTorch, torch.compile": torch_fp16.compiled}
#: Their precision.
BASELINE = "fp16"
BUILD = Path("build")


def main(arguments: list[str] | None = None) -> int:
    """Measure; returns the exit status: 0, or 1 with one line on standard error."""
    parser = argparse.ArgumentParser(prog="python -m deploy.loadtest.gpu", description=main.__doc__)
    parser.add_argument("--artefacts", type=Path, default=BUILD / "artefacts", help="all engines there (%(default)s)")
    parser.add_argument("--checkpoint", type=Path, default=BUILD / "checkpoint", help="for PyTorch (%(default)s)")
    parser.add_argument("--output", type=Path, default=BUILD / "bench" / "gpu.json", help="(%(default)s)")
    parser.add_argument("--rounds", type=COUNT, default=3, help="each point once a round, medians count (%(default)s)")
    parser.add_argument("--seconds", type=POSITIVE, default=2.0, help="a point and round (%(default)s)")
    options = parser.parse_args(arguments)
    return run("python -m deploy.loadtest.gpu", lambda: _bench(options))


def _bench(options: argparse.Namespace) -> int:
    gpu = installed()
    if gpu is None:
        raise RuntimeFailure("this machine has no GPU, `make bench` is for its CPU")
    model = checkpoint.load(options.checkpoint).model
    loads = _loads(options.artefacts)
    try:
        floors = _floors(options.artefacts, model, loads, _roof(gpu))
    except UnknownGpu as error:
        print(f"python -m deploy.loadtest.gpu: measured without a floor: {error}", file=sys.stderr)
        floors = {}
    report: dict[str, Any] = {
        "gpu": str(gpu),
        "driver": gpu.driver,
        "versions": {"torch": torch.__version__, "cuda": torch.version.cuda},
        "loads": {name: reason or "yes" for name, reason in loads.items()},
    }
    rounds = []
    for _ in range(options.rounds):
        rounds.append(_round(options, model, loads))
        report["measured"] = [_row(each, floors.get((each.model, each.batch))) for each in summarise(rounds)]
        with atomic_path(options.output) as partial:
            partial.write_text(json.dumps(report, indent=2) + "\n")
    _print(report)
    print(f"\nevery figure: {options.output}")
    return 0


def _row(measured: Measurement, floor: float | None) -> dict[str, Any]:
    return {**measured.as_row(), "floor_ms": None if floor is None else round(1e3 * floor, 4)}


def _loads(artefacts: Path) -> dict[str, str]:
    """Engine -> why it does not load here; empty where it does. Those of other GPUs are tried too."""
    found: dict[str, str] = {}
    for path in sorted(artefacts.glob(f"*/{artefact.PLAN_FILE}")):
        try:
            EngineRuntime(_provider(path.parent), path).close()
            found[path.parent.name] = ""
        except AlexNetError as error:
            found[path.parent.name] = str(error)
    if "" not in found.values():
        raise manifest.ManifestError(f"no engine in {artefacts} loads on this GPU: {found or 'there is none'}")
    return found


def _provider(folder: Path) -> Provider:
    engine = artefact.read(folder).engine
    if engine is None:
        raise manifest.ManifestError(f"{folder} is no engine")
    return find(engine.provider)


def _round(options: argparse.Namespace, model: AlexNet, loads: dict[str, str]) -> list[Measurement]:
    """Every point once: the machine's noise meets them all alike."""
    rows = []
    generator = np.random.default_rng(0)
    for batch in BATCHES:
        pixels = generator.integers(0, 256, (batch, *IMAGE.shape), np.uint8)
        for name in _loaded(loads):
            folder = options.artefacts / name
            provider = _provider(folder)
            with EngineRuntime(provider, folder / artefact.PLAN_FILE, hot=(batch,)) as runner:
                speed = time_calls(lambda: runner.run(pixels), batch, options.seconds)  # noqa: B023  called at once
            rows.append(Measurement(str(provider), name, *speed, batch=batch))
        for what, baseline in BASELINES.items():
            run = baseline(model, batch)
            speed = time_calls(lambda: run(pixels), batch, options.seconds)  # noqa: B023
            rows.append(Measurement(what, BASELINE, *speed, batch=batch))
    return rows


def _floors(artefacts: Path, model: AlexNet, loads: dict[str, str], roof: Roof) -> dict[tuple[str, int | None], float]:
    """Of what is measured, by batch: the least seconds."""
    parameters = sum(each.numel() for each in model.parameters())
    weights = {BASELINE: (2 * parameters, BASELINE)}
    for name in _loaded(loads):
        folder = artefacts / name
        weights[name] = (folder / artefact.PLAN_FILE).stat().st_size, artefact.read(folder).precision
    each_image = macs(model)
    return {
        (name, batch): roof.seconds(size, each_image, batch, precision)
        for name, (size, precision) in weights.items()
        for batch in BATCHES
    }


def _loaded(loads: dict[str, str]) -> list[str]:
    return [name for name, reason in loads.items() if not reason]


def _roof(gpu: Gpu) -> Roof:
    pynvml.nvmlInit()
    try:
        device = pynvml.nvmlDeviceGetHandleByIndex(0)
        return Roof.of(
            gpu.capability,
            torch.cuda.get_device_properties(0).multi_processor_count,
            1e6 * pynvml.nvmlDeviceGetMaxClockInfo(device, pynvml.NVML_CLOCK_SM),
            1e6 * pynvml.nvmlDeviceGetMaxClockInfo(device, pynvml.NVML_CLOCK_MEM),
            pynvml.nvmlDeviceGetMemoryBusWidth(device),
        )
    finally:
        pynvml.nvmlShutdown()


def _print(report: dict[str, Any]) -> None:
    print(f"{report['gpu']}, driver {report['driver']}, {report['versions']}")
    for name, reason in report["loads"].items():
        print(f"  {name} loads: {reason}")
    print(f"{'what':28}{'model':24}{'batch':>6}{'image/s':>10}{'p50 ms':>9}{'p99 ms':>9}{'floor ms':>10}")
    for row in report["measured"]:
        print(
            f"{row['what']:28}{row['model']:24}{row['batch']:6}{row['images_per_second']:10.0f}"
            f"{row['p50_ms']:9.3f}{row['p99_ms']:9.3f}{'-' if row['floor_ms'] is None else row['floor_ms']:>10}"
        )


if __name__ == "__main__":
    sys.exit(main())
