"""The benchmark of what training reads: images a second, decoded and augmented, against what a GPU would learn from."""

from __future__ import annotations

import time
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch

from training.data.batches import AHEAD
from training.data.image_set import DataError, ImageSet
from training.fit.examples import ImageExamples
from training.fit.run import Run

#: Images a second that a data-centre GPU's AlexNet trains on, in bf16.
WANTED = 10_000
#: Images that :func:`decoding` takes.
SAMPLE = 256


@dataclass(frozen=True, slots=True)
class Reading:
    """How fast a number of workers is."""

    workers: int
    #: Seconds from asking to the first batch: processes start, and decode it.
    start: float
    #: Images a second from then on, augmented and normalised on the run's device.
    images_per_second: float
    #: Seconds of CPU an image that the training's own process spends, whatever the number of workers.
    own_cpu: float


def decoding(images: ImageSet) -> float:
    """Seconds of CPU that one image takes to be read and decoded; other work on the machine does not change them."""
    readers = [images.reader(index % len(images)) for index in range(SAMPLE)]
    cpu = time.process_time()
    for reader in readers:
        reader()
    return (time.process_time() - cpu) / SAMPLE


def measure(images: ImageSet, run: Run, count: int) -> Reading:
    """Read ``count`` images as training does, with the run's workers; few images are read again and again.

    Raises:
        DataError: fewer batches than the workers have ready before the clock starts.
    """
    size, workers = run.recipe.batch_size, run.workers or 0
    ready = workers * AHEAD + 1
    if count < 2 * ready * size:
        raise DataError(f"got {count:,} images to measure {workers} workers with: want at least {2 * ready * size:,}")
    examples = ImageExamples(images, np.resize(np.arange(len(images)), count), run, augment=True)
    reading = examples.read(list(torch.split(torch.arange(count), size)), torch.Generator().manual_seed(0))
    asked = time.monotonic()
    next(reading)
    started = time.monotonic()
    for _ in range(ready):  # what was decoded while nobody looked
        next(reading)
    clock, cpu = time.monotonic(), time.process_time()
    read = sum(len(targets) for _, targets in reading)
    seconds = time.monotonic() - clock
    return Reading(workers, started - asked, read / seconds, (time.process_time() - cpu) / read)


def table(readings: Sequence[Reading]) -> str:
    """The figures as text, a row a reading."""
    rows = [f"{'workers':>7}{'images/s':>10}{'a worker':>10}{'first batch s':>15}{'own CPU ms':>12}"]
    rows += [
        f"{reading.workers:7}{reading.images_per_second:10.0f}"
        f"{reading.images_per_second / max(1, reading.workers):10.0f}{reading.start:15.2f}{1e3 * reading.own_cpu:12.2f}"
        for reading in readings
    ]
    return "\n".join(rows)
