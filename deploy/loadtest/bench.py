"""Every point of the bench, once a round: the machine's noise meets them all alike."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from tqdm import tqdm

from alexnet_client.contract import ENSEMBLE, IMAGE, precision_model
from deploy.loadtest import busy, sleeping
from deploy.loadtest.ceiling import decoding_speed
from deploy.loadtest.clients import measure_clients
from deploy.loadtest.measurement import (
    EACH_ITS_CLIENT,
    IN_PROCESS,
    ONE_CLIENT,
    SLEEPING,
    Measurement,
    summarise,
    time_calls,
)
from deploy.loadtest.perf_analyzer import measure
from deploy.loadtest.photograph import photograph
from deploy.loadtest.processor import Processor, measure_processor
from deploy.serve.server import WORK, LocalServer
from export.artefacts import artefact
from export.runtimes.onnx import OnnxRuntime

BATCHES = (1, 8, 32)
CALLERS = (1, 8, 32, 64)
SATURATION = 32
#: Threads of the Python client's points, and callers of the network that sleeps.
THREADS, ASLEEP = 64, (1, 8)
#: A round's, without those in process: INT8 tensors and files, FP32, the network that sleeps, the Python client.
SERVED_POINTS = 2 * len(CALLERS) + 1 + len(ASLEEP) + 2
ARTEFACTS = {precision_model("int8"): "int8-cpu", precision_model("fp32"): "fp32"}
INT8, FP32 = ARTEFACTS


@dataclass(slots=True)
class Figures:
    """What was measured."""

    processor: Processor
    #: Images a second that all cores decode, once a round.
    decoding: list[float] = field(default_factory=list)
    rounds: list[list[Measurement]] = field(default_factory=list)
    #: Of INT8 tensors at saturation, once a round: images a run, share of the time in the network, its images a second.
    shares: list[tuple[float, float, float]] = field(default_factory=list)

    @property
    def measurements(self) -> list[Measurement]:
        """Medians over the rounds."""
        return summarise(self.rounds)


def measure_all(repository: Path, artefacts: Path, rounds: int, seconds: float) -> Figures:
    """Measure a published repository, and the artefacts that it was made of.

    Args:
        seconds: a point and round, at least.

    Raises:
        alexnet_client.AlexNetError: something is missing, or does not answer.
    """
    predictors = {model: OnnxRuntime(artefacts / name / artefact.MODEL_FILE) for model, name in ARTEFACTS.items()}
    pixels = np.random.default_rng(0).integers(0, 256, (max(BATCHES), *IMAGE.shape), np.uint8)
    file = photograph()
    figures = Figures(measure_processor(seconds))
    with (
        LocalServer(repository, use_free_ports=True) as server,
        sleeping.sleeping_server(WORK) as asleep,
        tqdm(total=rounds * SERVED_POINTS, desc="bench", unit="point") as bar,
    ):
        for _ in range(rounds):
            points: list[Measurement] = []
            for model, predictor in predictors.items():
                points += [_in_process(model, predictor, pixels[:batch], seconds) for batch in BATCHES]
            speeds = {point.model: point.images_per_second for point in points}
            figures.decoding.append(decoding_speed(file, seconds))
            loads = [(INT8, callers) for callers in CALLERS] + [(FP32, SATURATION)]
            for model, callers in [*loads, *((ENSEMBLE, callers) for callers in CALLERS)]:
                load = partial(
                    measure, server.grpc_url, model, callers, seconds, file, speed=speeds.get(model, speeds[INT8]) / 2
                )
                if (model, callers) == (INT8, SATURATION):
                    points.append(_with_shares(load, server.metrics_url, figures.shares))
                else:
                    points.append(load())
                bar.update()
            for callers in ASLEEP:
                points.append(measure_clients(asleep, sleeping.MODEL, callers, 2 * seconds, pixels[0], SLEEPING))
                bar.update()
            for what in (ONE_CLIENT, EACH_ITS_CLIENT):
                points.append(measure_clients(server.grpc_url, INT8, THREADS, seconds, pixels[0], what))
                bar.update()
            figures.rounds.append(points)
    return figures


def _in_process(model: str, predictor: OnnxRuntime, pixels: NDArray[np.uint8], seconds: float) -> Measurement:
    return Measurement(
        IN_PROCESS, model, *time_calls(lambda: predictor(pixels), len(pixels), seconds), batch=len(pixels)
    )


def _with_shares(
    load: Callable[[], Measurement], metrics_url: str, shares: list[tuple[float, float, float]]
) -> Measurement:
    before, started = busy.read(metrics_url, INT8), time.monotonic()
    point = load()
    spent, wall = busy.read(metrics_url, INT8) - before, time.monotonic() - started
    shares.append((spent.images / spent.runs, spent.network / wall, spent.images / spent.network))
    return point
