"""Cached features: frozen convolutions run once over the images, chunk by chunk, resumable."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn
from tqdm import tqdm

from alexnet_client.files import atomic_path
from training.data.batches import batches
from training.data.image_set import ImageSet
from training.fit.distributed import Group
from training.model import channels_last, normalise

BATCH = 32
#: Images a file: what a kill can cost.
CHUNK = 1024


def cached_features(
    convolutions: nn.Module, images: ImageSet, indices: NDArray[np.int64], folder: Path, group: Group, bf16: bool
) -> Tensor:
    """The flattened output of ``convolutions`` for each image; the group's processes share the work.

    Args:
        folder: keeps a file for each chunk that is done; one that is there is not computed again. It belongs to these
            convolutions, indices and precision alone.
        bf16: run in bfloat16.

    Returns:
        ``float16[N, 9216]``.

    Raises:
        OSError: a chunk could not be written.
    """
    convolutions = channels_last(convolutions.to(group.device)).eval()
    parts = [indices[start : start + CHUNK] for start in range(0, len(indices), CHUNK)]
    files = [folder / f"features-{number:05d}.npy" for number in range(len(parts))]
    mine = list(zip(parts, files, strict=True))[group.rank :: group.size]
    with tqdm(total=sum(len(part) for part, _ in mine), desc="features", unit="image", disable=not group.first) as bar:
        for part, path in mine:
            if path.is_file():
                bar.update(len(part))
                continue
            features = []
            for pixels, _ in batches(images, BATCH, part):
                batch = normalise(torch.from_numpy(pixels).to(group.device))
                with torch.inference_mode(), torch.autocast(group.device.type, torch.bfloat16, enabled=bf16):
                    features.append(convolutions(batch).flatten(1).half().cpu().numpy())
                bar.update(len(pixels))
            with atomic_path(path) as partial, partial.open("wb") as file:
                np.save(file, np.concatenate(features))
    group.wait()
    return torch.from_numpy(np.concatenate([np.load(path, mmap_mode="r") for path in files]))  # one copy in memory
