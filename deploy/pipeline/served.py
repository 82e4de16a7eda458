"""Accuracy of what is served: every test image through gRPC, as pixels and, to the ensemble, as files."""

from __future__ import annotations

import time
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from tqdm import tqdm

from alexnet_client import AlexNetClient
from alexnet_client.contract import ENSEMBLE
from alexnet_client.files import atomic_path
from deploy.pipeline import stages as pipeline
from deploy.pipeline.served_predictor import ServedPredictor
from deploy.pipeline.stage import Done, digest
from export.artefacts import artefact
from export.artefacts.manifest import Manifest
from training.data.image_set import ImageSet
from training.predictions import cached

FILES_A_CALL = 256
#: What decides a served answer beside the artefact.
SERVER = tuple(
    pipeline.ROOT / part for part in ("deploy/serve", "model_repository", "client/alexnet_client", "constraints.txt")
)


@dataclass(frozen=True, slots=True)
class Served:
    """What the server answered for the whole test split."""

    #: Model -> percent.
    top1: dict[str, float]
    #: Of the precision behind the ensemble, ``float32[N, 4096]``.
    embedding: NDArray[np.float32]
    done: Done


def served_accuracy(url: str, records: Mapping[str, Manifest], images: ImageSet) -> Served:
    """Ask a running server for every test image; answers are kept by artefact and by the server's own code.

    Raises:
        tritonclient.utils.InferenceServerException, alexnet_client.AlexNetError: the server did not answer.
    """
    started = time.monotonic()
    folder = pipeline.PREDICTIONS / f"served-{str(digest(SERVER))[:16]}"
    present = len(list(folder.glob("*")))
    top1, embedding = {}, None
    for model, record in records.items():
        sha = record.files[artefact.MODEL_FILE]
        with ServedPredictor(url, model) as predictor:
            outputs, labels = cached(folder, sha, predictor, images, model, batch_size=128)
        top1[model] = float(100 * (outputs.probabilities.argmax(1) == labels).mean())
        if record.recipe["precision"] == pipeline.ENSEMBLE_PRECISION:
            embedding = outputs.embedding
            top1[ENSEMBLE] = _files(url, folder / f"{sha[:16]}-{images.sha256[:16]}-files.npy", images, labels)
    if embedding is None:
        raise ValueError(f"no {pipeline.ENSEMBLE_PRECISION} artefact among {', '.join(records)}")
    skipped = len(list(folder.glob("*"))) == present
    if skipped:
        print("  skipped, neither artefacts nor server have changed")
    return Served(top1, embedding, Done(time.monotonic() - started, skipped))


def _files(url: str, path: Path, images: ImageSet, labels: NDArray[np.int64]) -> float:
    """Top-1 in percent of the ensemble, the images sent as files."""
    if not path.is_file():
        answers = []
        with AlexNetClient(url, model=ENSEMBLE, timeout=60) as client, tqdm(total=len(images), desc=ENSEMBLE) as bar:
            for start in range(0, len(images), FILES_A_CALL):
                files = [images.file(i) for i in range(start, min(start + FILES_A_CALL, len(images)))]
                answers += [predictions[0].index for predictions in client.classify(files, top_k=1)]
                bar.update(len(files))
        with atomic_path(path) as partial, partial.open("wb") as file:
            np.save(file, np.array(answers))
    return float(100 * (np.load(path) == labels).mean())
