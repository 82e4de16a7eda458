"""Batches of an image set, decoded ahead of their use in worker processes."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import nullcontext

import numpy as np
import torch
from numpy.typing import NDArray
from torch.utils.data import DataLoader, Dataset
from tqdm import tqdm

from alexnet_client.errors import AlexNetError
from training.data.image_set import DataError, ImageSet, Reader
from training.data.workers import cores, end_with_parent, starting

#: Batches that each worker is ahead of their use.
AHEAD = 2
#: With fewer images the workers' start, a second or two for the first of a process, costs more than they save.
WORTH_WORKERS = 2048


def batches(
    images: ImageSet,
    batch_size: int,
    indices: Sequence[int] | NDArray[np.int64] | None = None,
    description: str | None = None,
    workers: int | None = None,
) -> Iterator[tuple[NDArray[np.uint8], NDArray[np.int64]]]:
    """Batches ``uint8[N, 224, 224, 3]``, ``int64[N]``, in order whatever the number of workers.

    Args:
        indices: which images; all by default.
        description: shows a progress bar of that name.
        workers: processes that decode; 0 decodes here, when a batch is asked for. By default one a core, or none for a
            few images.

    Raises:
        DataError: an image cannot be read any more, or a worker was killed.
    """
    chosen = np.arange(len(images)) if indices is None else np.asarray(indices)
    parts = [chosen[start : start + batch_size] for start in range(0, len(chosen), batch_size)]
    if workers is None:
        workers = min(cores(), len(parts)) if len(chosen) >= WORTH_WORKERS else 0
    with tqdm(total=len(chosen), desc=description, unit="image", disable=description is None) as bar:
        for part, pixels in zip(parts, _decoded(images, parts, workers), strict=True):
            yield pixels, images.targets[part]
            bar.update(len(part))


class _Decoder(Dataset[NDArray[np.uint8] | AlexNetError]):
    """What a worker does. It holds no data: what it is to read comes with each batch, a path or some bytes an image."""

    def __getitem__(self, readers: list[Reader]) -> NDArray[np.uint8] | AlexNetError:
        try:
            return np.stack([reader() for reader in readers])
        except AlexNetError as error:
            return error  # raised in a worker, it would arrive as a traceback


class _Readers:
    """The readers of each batch, made when a worker is free for it."""

    def __init__(self, images: ImageSet, parts: list[NDArray[np.int64]]) -> None:
        self._images = images
        self._parts = parts

    def __iter__(self) -> Iterator[list[Reader]]:
        return ([self._images.reader(int(index)) for index in part] for part in self._parts)


def _decoded(images: ImageSet, parts: list[NDArray[np.int64]], workers: int) -> Iterator[NDArray[np.uint8]]:
    with starting() if workers else nullcontext() as context:
        loader: DataLoader[NDArray[np.uint8] | AlexNetError] = DataLoader(
            _Decoder(),
            batch_size=None,  # the sampler's items are batches already
            sampler=_Readers(images, parts),
            num_workers=workers,
            prefetch_factor=AHEAD if workers else None,
            multiprocessing_context=context,
            worker_init_fn=end_with_parent,
            generator=torch.Generator(),  # torch's own is the training's: it must not depend on how images are read
        )
        arriving = iter(loader)
    try:
        for batch in arriving:
            if isinstance(batch, AlexNetError):
                raise batch
            yield batch.numpy()
    except AlexNetError:
        raise
    except (RuntimeError, ConnectionError, FileNotFoundError, EOFError) as error:
        if isinstance(error, RuntimeError) and error.__cause__ is None:
            raise  # a worker's own, a bug; the rest is what a lost connection to one looks like
        raise DataError(
            f"a process that decodes images was killed ({error}): free memory or shared memory (/dev/shm), "
            f"or use fewer than {workers} workers"
        ) from error
    finally:
        del arriving  # this ends the workers; an error's traceback would keep them
