"""The bench's figures as a table, as ratios that another run on this machine would show again, and as JSON."""

from __future__ import annotations

from collections.abc import Sequence
from statistics import median
from typing import Any

import numpy as np

from alexnet_client.contract import ENSEMBLE
from deploy.loadtest import sleeping
from deploy.loadtest.bench import ASLEEP, BATCHES, CALLERS, FP32, INT8, SATURATION, THREADS, Figures
from deploy.loadtest.ceiling import ceiling
from deploy.loadtest.measurement import (
    EACH_ITS_CLIENT,
    FILES,
    IN_PROCESS,
    ONE_CLIENT,
    SLEEPING,
    TENSORS,
    Measurement,
    speed,
)


def as_json(figures: Figures) -> dict[str, Any]:
    """Everything that was measured, medians over the rounds."""
    return {
        "processor": figures.processor.as_row(),
        "decoding_images_per_second": round(median(figures.decoding), 1),
        "measurements": [{**m.as_row(), "stalled": m.stalled} for m in figures.measurements],
    }


def as_text(figures: Figures) -> str:
    """The table, the ratios, and every stall by name."""
    measurements = figures.measurements
    return "\n".join(
        (
            "",
            str(figures.processor),
            *_table(measurements),
            "",
            "ratios (medians of one run)",
            *_ratios(figures, measurements),
            _where_time_goes(figures, measurements),
            *_stalls(measurements),
        )
    )


def _table(measurements: Sequence[Measurement]) -> list[str]:
    header = (
        f"{'what':22}{'model':14}{'batch':>6}{'callers':>8}{'image/s':>9}"
        f"{'p50 ms':>9}{'p99 ms':>9}{'longest':>9}{'idle':>8}"
    )
    return [header] + [
        f"{m.what:22}{m.model:14}{m.batch or '':>6}{m.callers or '':>8}{m.images_per_second:9.1f}"
        f"{m.p50_ms:9.1f}{m.p99_ms:9.1f}{_known(m.longest_ms, 9, '.1f')}{_known(m.idle, 8, '.0%')}"
        for m in measurements
    ]


def _known(figure: float | None, width: int, form: str) -> str:
    return f"{'' if figure is None else format(figure, form):>{width}}"


def _ratios(figures: Figures, measurements: Sequence[Measurement]) -> list[str]:
    offline = {batch: speed(measurements, IN_PROCESS, INT8, batch=batch) for batch in BATCHES}
    full = offline[max(BATCHES)]
    lines = []
    for callers in CALLERS:
        served = speed(measurements, TENSORS, INT8, callers=callers)
        batch = max(batch for batch in BATCHES if batch <= callers)
        lines.append((f"INT8 tensors, {callers} callers / in-process batch {batch}", served / offline[batch]))
    most = ceiling(median(figures.decoding), full)
    for callers in CALLERS:
        served = speed(measurements, FILES, ENSEMBLE, callers=callers)
        lines.append((f"JPEG files, {callers} callers / decoding and network on these cores", served / most))
    for callers in ASLEEP:
        served = speed(measurements, SLEEPING, sleeping.MODEL, callers=callers)
        lines.append((f"network asleep, {callers} callers / what its sleep allows", served * sleeping.SECONDS_AN_IMAGE))
    one, each = (speed(measurements, what, INT8, callers=THREADS) for what in (ONE_CLIENT, EACH_ITS_CLIENT))
    lines.append((f"Python, {THREADS} threads: one client / a client each", one / each))
    for batch in BATCHES:
        full_precision = speed(measurements, IN_PROCESS, FP32, batch=batch)
        lines.append((f"INT8 / FP32 in process at batch {batch}", offline[batch] / full_precision))
    chip = figures.processor
    lines.append(("INT8 / FP32 that this processor's arithmetic allows", chip.int8_macs / chip.fp32_macs))
    return [f"  {what:64}{ratio:5.2f}" for what, ratio in lines]


def _where_time_goes(figures: Figures, measurements: Sequence[Measurement]) -> str:
    images, share, pace = np.median(figures.shares, axis=0)
    alone = speed(measurements, IN_PROCESS, INT8, batch=max(BATCHES))
    return (
        f"{SATURATION} callers of INT8 tensors: the network runs {100 * share:.0f} % of the time, start and end of the "
        f"load included, on {images:.0f} images at once, at {pace:.0f} image/s ({pace / alone:.2f} of its speed alone)"
    )


def _stalls(measurements: Sequence[Measurement]) -> list[str]:
    found = [
        f"STALL: {m.what}, {m.model}, {m.callers} callers: a call took {m.slowest_ms:.0f} ms where most take "
        f"{m.p50_ms:.0f}, with {100 * (m.idle or 0):.0f} % of the cores' time idle"
        for m in measurements
        if m.stalled
    ]
    return found or ["no call stood still while cores were idle"]
