"""The golden batch: test images and the FP32 graph's answers, to prove an engine on the GPU that first loads it."""

from __future__ import annotations

import json
import re
from dataclasses import asdict
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from alexnet_client.files import atomic_path
from alexnet_client.outputs import Outputs, Predictor
from export.artefacts import manifest
from export.engines.gpu import Gpu
from export.proof.compare import ComparisonError, compare
from export.proof.proof import Limits, Verdict

IMAGES = 64


def write(path: Path, images: NDArray[np.uint8], reference: Outputs) -> None:
    """Write ``uint8[N, 224, 224, 3]`` and its answers as ``path``, atomically.

    Raises:
        FileError: the file could not be written.
    """
    with atomic_path(path) as partial, partial.open("wb") as file:
        np.savez_compressed(file, images=images, **reference._asdict())


def is_there(path: Path, images: NDArray[np.uint8], reference: Outputs) -> bool:
    """Whether ``path`` holds exactly this batch."""
    try:
        present, answers = read(path)
    except manifest.ManifestError:
        return False
    return np.array_equal(present, images) and all(map(np.array_equal, answers, reference))


def read(path: Path) -> tuple[NDArray[np.uint8], Outputs]:
    """What :func:`write` wrote.

    Raises:
        manifest.ManifestError: it is missing or no golden batch.
    """
    try:
        with np.load(path) as stored:
            return stored["images"], Outputs(*(stored[name] for name in Outputs._fields))
    except (OSError, KeyError, ValueError) as error:
        raise manifest.ManifestError(f"{path} is no golden batch ({error}): publish again") from error


def prove(golden: Path, predictor: Predictor, limits: Limits) -> list[str]:
    """Run the golden batch; returns a sentence for each limit that is broken, none when the engine is proved."""
    images, reference = read(golden)
    try:
        comparison = compare(reference, predictor(images))
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
