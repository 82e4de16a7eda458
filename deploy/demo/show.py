"""What the demo asks the server, as a user would: files in, classes, vectors and neighbours out."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import matplotlib as mpl
import numpy as np
from numpy.typing import NDArray

from alexnet_client import AlexNetClient
from alexnet_client.files import atomic_path
from training.data.image_set import ImageSet

mpl.use("Agg")
from matplotlib import pyplot as plt

TOP_K = 5
NEIGHBOURS = 6


def write_samples(images: ImageSet, folder: Path, count: int) -> list[tuple[int, Path]]:
    """Write the first test image of each of ``count`` classes as a file.

    Returns:
        (index in the split, file) for each.
    """
    folder.mkdir(parents=True, exist_ok=True)
    samples: dict[int, tuple[int, Path]] = {}
    for index in range(len(images)):
        label = images[index][1]
        if label not in samples:
            path = folder / f"{index:05d}-{images.labels[label].replace('/', '-').replace(' ', '-').lower()}.png"
            path.write_bytes(images.file(index))
            samples[label] = (index, path)
            if len(samples) == count:
                break
    return list(samples.values())


def classify(url: str, files: Sequence[Path]) -> None:
    """Send files through gRPC and print the top five classes of each."""
    with AlexNetClient(url) as client:
        for path, predictions in zip(files, client.classify(list(files), top_k=TOP_K), strict=True):
            answers = ", ".join(f"{p.label} {p.probability:.3f}" for p in predictions)
            print(f"  {path.name:28} -> {answers}")


def nearest(embedding: NDArray[np.float32], query: NDArray[np.float32], own: int) -> NDArray[np.int64]:
    """The rows of ``embedding`` most similar (cosine) to ``query``, without row ``own``, nearest first."""
    similarity = embedding @ query / (np.linalg.norm(embedding, axis=1) * np.linalg.norm(query) + np.finfo("f4").tiny)
    similarity[own] = -np.inf
    return np.argsort(-similarity, kind="stable")[:NEIGHBOURS]


def neighbours(
    url: str, samples: Sequence[tuple[int, Path]], images: ImageSet, embedding: NDArray[np.float32], picture: Path
) -> None:
    """Embed files through gRPC, print and draw their nearest neighbours among the test images.

    Args:
        embedding: of every test image, ``float32[N, 4096]``.
    """
    with AlexNetClient(url) as client:
        vectors = client.embed([path for _, path in samples])
    print(f"  embeddings: {vectors.dtype} {list(vectors.shape)}")
    figure, axes = plt.subplots(len(samples), NEIGHBOURS + 1, figsize=(1.5 * (NEIGHBOURS + 1), 1.7 * len(samples)))
    for row, (index, path), vector in zip(np.atleast_2d(axes), samples, vectors, strict=True):
        found = nearest(embedding, vector, own=index)
        print(f"  {path.name:28} is near {', '.join(f'{images.labels[images[i][1]]} #{i}' for i in found)}")
        for axis, i in zip(row, (index, *found), strict=True):
            pixels, label = images[int(i)]
            axis.imshow(pixels)
            axis.set_title(images.labels[label], fontsize=8)
            axis.axis("off")
    figure.suptitle("Test images (left) and their nearest neighbours by embedding", fontsize=10)
    figure.tight_layout()
    with atomic_path(picture) as partial:
        figure.savefig(partial, format="png", dpi=100)
    plt.close(figure)
