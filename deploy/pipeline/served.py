"""Accuracy of what is served: every test image through gRPC, as pixels and, to the ensemble, as files.

A stage like the others: ``python -m deploy.pipeline.served`` starts a server on the published repository, asks it, and
writes ``accuracy.json`` (model -> top-1 in percent) and ``embedding.npy`` (``float32[N, 4096]``).
"""

from __future__ import annotations

import argparse
import json
import sys
from pathlib import Path

import numpy as np
from tqdm import tqdm

from alexnet_client import AlexNetClient
from alexnet_client.command import run
from alexnet_client.contract import ENSEMBLE
from alexnet_client.files import atomic_path
from deploy.pipeline import stages
from deploy.serve.server import LocalServer
from export.artefacts import artefact
from training.data.image_set import ImageSet
from training.data.labels import labelled_as
from training.data.open import open_labelled
from training.predictions import predict

#: A few requests, so that the server's batcher has work.
IMAGES_A_CALL = 256
#: Seconds a request; nobody is waiting for one of them.
TIMEOUT = 60


def main(arguments: list[str] | None = None) -> int:
    """Serve, ask and write; returns the exit status."""
    parser = argparse.ArgumentParser(prog="python -m deploy.pipeline.served", description=main.__doc__)
    parser.add_argument("--repository", type=Path, default=stages.REPOSITORY, help="(%(default)s)")
    parser.add_argument("--data", type=Path, default=stages.DATA, help="(%(default)s)")
    parser.add_argument("--output", type=Path, default=stages.SERVED, help="folder (%(default)s)")
    options = parser.parse_args(arguments)
    return run("python -m deploy.pipeline.served", lambda: _measure(options.repository, options.data, options.output))


def _measure(repository: Path, data: Path, output: Path) -> int:
    images = labelled_as(open_labelled(data, "test"), artefact.read_labels(repository / ENSEMBLE), repository)
    top1: dict[str, float] = {}
    with LocalServer(repository, use_free_ports=True) as server:
        for model, name in stages.PUBLISHED.items():
            with AlexNetClient(server.grpc_url, model, TIMEOUT) as client:
                outputs, targets = predict(client.infer, images, model, IMAGES_A_CALL)
            top1[model] = float(100 * (outputs.probabilities.argmax(1) == targets).mean())
            if name.startswith(stages.ENSEMBLE_PRECISION):
                with atomic_path(output / stages.EMBEDDING_FILE) as partial, partial.open("wb") as file:
                    np.save(file, outputs.embedding)
        top1[ENSEMBLE] = _files(server.grpc_url, images)
    with atomic_path(output / stages.ACCURACY_FILE) as partial:
        partial.write_text(json.dumps(top1, indent=2) + "\n")
    for model, percent in top1.items():
        print(f"  {model:14} top-1 {percent:.2f} %")
    return 0


def _files(url: str, images: ImageSet) -> float:
    """Top-1 in percent of the ensemble, the images sent as files."""
    answers: list[int] = []
    with AlexNetClient(url, ENSEMBLE, TIMEOUT) as client, tqdm(total=len(images), desc=ENSEMBLE, unit="image") as bar:
        for start in range(0, len(images), IMAGES_A_CALL):
            files = [images.file(i) for i in range(start, min(start + IMAGES_A_CALL, len(images)))]
            answers += [predictions[0].index for predictions in client.classify(files, top_k=1)]
            bar.update(len(files))
    return float(100 * (np.array(answers) == images.targets).mean())


if __name__ == "__main__":
    sys.exit(main())
