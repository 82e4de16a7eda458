"""The golden batch: test images and the FP32 graph's answers, to prove an engine on the GPU that first loads it.

A release carries it, so that a prober knows what must be answered, and with it what was answered over the whole split,
in few numbers: what traffic may be held against.
"""

from __future__ import annotations

import json
import re
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from alexnet_client.files import atomic_path
from alexnet_client.outputs import Outputs
from export.artefacts import manifest
from export.engines.gpu import Gpu
from export.proof.compare import ComparisonError, check_checksum, compare
from export.proof.proof import Limits, Verdict
from export.runtimes.runtime import Runtime

IMAGES = 64


@dataclass(frozen=True, slots=True)
class Population:
    """What an artefact answered over a whole split, in few numbers."""

    #: ``int64[K]``: of each class, the images whose most probable one it is.
    top1: NDArray[np.int64]
    #: Mean and standard deviation of the embeddings' lengths (L2).
    norm: float
    norm_deviation: float

    @classmethod
    def of(cls, outputs: Outputs) -> Population:
        """Count."""
        norms = np.linalg.norm(outputs.embedding.astype(np.float64), axis=1)
        top1 = np.bincount(outputs.probabilities.argmax(1), minlength=outputs.probabilities.shape[1])
        return cls(top1, float(norms.mean()), float(norms.std()))


def write(path: Path, images: NDArray[np.uint8], reference: Outputs, population: Population | None = None) -> None:
    """Write ``uint8[N, 224, 224, 3]`` and its answers as ``path``, atomically.

    Args:
        population: of the whole split; the batch's own by default.

    Raises:
        FileError: the file could not be written.
    """
    with atomic_path(path) as partial, partial.open("wb") as file:
        np.savez_compressed(
            file, images=images, **reference._asdict(), **asdict(population or Population.of(reference))
        )


def is_there(path: Path, images: NDArray[np.uint8], reference: Outputs, population: Population) -> bool:
    """Whether ``path`` holds exactly this batch and population."""
    try:
        present, answers = read(path)
        counted = read_population(path)
    except manifest.ManifestError:
        return False
    norms = counted.norm, counted.norm_deviation
    return (
        np.array_equal(present, images)
        and all(map(np.array_equal, answers, reference))
        and np.array_equal(counted.top1, population.top1)
        and norms == (population.norm, population.norm_deviation)
    )


def read(path: Path) -> tuple[NDArray[np.uint8], Outputs]:
    """The images and their answers, of what :func:`write` wrote.

    Raises:
        manifest.ManifestError: it is missing or no golden batch.
    """
    images, *answers = _arrays(path, "images", *Outputs._fields)
    return images, Outputs(*answers)


def read_population(path: Path) -> Population:
    """The population, of what :func:`write` wrote.

    Raises:
        manifest.ManifestError: as :func:`read`.
    """
    top1, norm, deviation = _arrays(path, "top1", "norm", "norm_deviation")
    return Population(top1, float(norm), float(deviation))


def _arrays(path: Path, *names: str) -> list[NDArray[Any]]:
    try:
        with np.load(path) as stored:
            return [stored[name] for name in names]
    except (OSError, KeyError, ValueError) as error:
        raise manifest.ManifestError(f"{path} is no golden batch ({error}): publish again") from error


def prove(golden: Path, runtime: Runtime, limits: Limits) -> list[str]:
    """Run the golden batch; returns a sentence for each limit that is broken, none when the engine is proved."""
    images, reference = read(golden)
    try:
        comparison = compare(reference, runtime(images))
        check_checksum(runtime, images)
    except ComparisonError as error:
        return [str(error)]
    return limits.broken_by(comparison)


class Proofs:
    """Verdicts of golden batches, kept by plan, GPU and library version: each is proved once a machine."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder

    def _path(self, plan: str, gpu: Gpu, version: str) -> Path:
        where = re.sub(r"\W+", "-", f"{gpu.name} {gpu.driver} {version}").lower()
        return self._folder / f"{plan[:16]}-{where}.json"

    def find(self, plan: str, gpu: Gpu, version: str) -> str | None:
        """The verdict on the plan with that SHA-256; None when it was not proved yet."""
        try:
            return str(json.loads(self._path(plan, gpu, version).read_text())["verdict"])
        except (OSError, ValueError, KeyError):
            return None

    def keep(self, plan: str, gpu: Gpu, version: str, broken: list[str]) -> str:
        """Record a verdict, and return it."""
        verdict = f"{Verdict.FAILED}: {'; '.join(broken)}" if broken else str(Verdict.PASSED)
        with atomic_path(self._path(plan, gpu, version)) as partial:
            partial.write_text(json.dumps({"plan": plan, "gpu": asdict(gpu), "version": version, "verdict": verdict}))
        return verdict
