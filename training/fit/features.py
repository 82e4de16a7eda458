"""Cached features: frozen convolutions run once over the images, chunk by chunk, resumable."""

from __future__ import annotations

from itertools import islice
from math import ceil

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn
from tqdm import tqdm

from alexnet_client.files import atomic_path
from training.data.batches import batches
from training.data.image_set import ImageSet
from training.fit.run import Run
from training.model import channels_last, normalise

BATCH = 32
#: Images a file, whole batches: what a kill can cost.
CHUNK = 32 * BATCH


def cached_features(convolutions: nn.Module, images: ImageSet, indices: NDArray[np.int64], run: Run) -> Tensor:
    """The flattened output of ``convolutions`` for each image; the group's processes share the work.

    The state's folder keeps a file for each chunk that is done, and one that is there is not computed again. The
    folder belongs to these convolutions and indices, and to this precision, alone.

    Returns:
        ``float16[N, 9216]``.

    Raises:
        training.data.image_set.DataError: an image cannot be read any more.
        alexnet_client.errors.FileError: a chunk could not be written.
    """
    group = run.group
    convolutions = channels_last(convolutions.to(group.device)).eval()
    parts = [indices[start : start + CHUNK] for start in range(0, len(indices), CHUNK)]
    files = [run.state / f"features-{number:05d}.npy" for number in range(len(parts))]
    mine = list(zip(parts, files, strict=True))[group.rank :: group.size]
    missing = [(part, path) for part, path in mine if not path.is_file()]
    # One stream over all chunks: the workers stay, and are ahead of a chunk's end.
    stream = batches(images, BATCH, np.concatenate([indices[:0], *(part for part, _ in missing)]), workers=run.workers)
    total, left = (sum(len(part) for part, _ in some) for some in (mine, missing))
    with tqdm(initial=total - left, total=total, desc="features", unit="image", disable=not group.first) as bar:
        for part, path in missing:
            features = []
            for pixels, _ in islice(stream, ceil(len(part) / BATCH)):
                batch = normalise(torch.from_numpy(pixels).to(group.device))
                with torch.inference_mode(), torch.autocast(group.device.type, torch.bfloat16, enabled=run.bf16):
                    features.append(convolutions(batch).flatten(1).half().cpu().numpy())
                bar.update(len(pixels))
            with atomic_path(path) as partial, partial.open("wb") as file:
                np.save(file, np.concatenate(features))
    group.wait()
    return torch.from_numpy(np.concatenate([np.load(path, mmap_mode="r") for path in files]))  # one copy in memory
