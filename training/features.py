"""Cached features: frozen convolutions run once over the images, chunk by chunk, resumable."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn
from tqdm import tqdm

from training.atomic import atomic_path
from training.images import ImageSet, batches
from training.model import channels_last, normalise

BATCH = 32
#: Images a file: what a kill can cost.
CHUNK = 1024


def cached_features(
    convolutions: nn.Module, images: ImageSet, indices: NDArray[np.int64], folder: Path, device: torch.device
) -> Tensor:
    """The flattened output of ``convolutions`` for each image.

    Args:
        folder: keeps a file for each chunk that is done; one that is there is not computed again. It belongs to these
            convolutions and indices alone.

    Returns:
        ``float16[N, 9216]``.

    Raises:
        OSError: a chunk could not be written.
    """
    convolutions = channels_last(convolutions.to(device)).eval()
    parts = [indices[start : start + CHUNK] for start in range(0, len(indices), CHUNK)]
    files = [folder / f"features-{number:05d}.npy" for number in range(len(parts))]
    with tqdm(total=len(indices), desc="features", unit="image") as bar:
        for part, path in zip(parts, files, strict=True):
            if not path.is_file():
                features = []
                for pixels, _ in batches(images, BATCH, part):
                    with torch.inference_mode():
                        batch = normalise(torch.from_numpy(pixels).to(device))
                        features.append(convolutions(batch).flatten(1).half().cpu().numpy())
                    bar.update(len(pixels))
                with atomic_path(path) as partial, partial.open("wb") as file:
                    np.save(file, np.concatenate(features))
            else:
                bar.update(len(part))
    return torch.from_numpy(np.concatenate([np.load(path) for path in files]))
