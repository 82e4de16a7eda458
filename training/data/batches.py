"""Batches of an image set, decoded ahead of their use."""

from __future__ import annotations

import queue
import threading
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor

import numpy as np
from numpy.typing import NDArray
from tqdm import tqdm

from training.data.image_set import ImageSet

#: Batches decoded ahead of their use.
AHEAD = 4
WORKERS = 2


def batches(
    images: ImageSet,
    batch_size: int,
    indices: Sequence[int] | NDArray[np.int64] | None = None,
    description: str | None = None,
) -> Iterator[tuple[NDArray[np.uint8], NDArray[np.int64]]]:
    """Batches ``uint8[N, 224, 224, 3]``, ``int64[N]`` in order, decoded ahead in threads.

    Args:
        indices: which images; all by default.
        description: shows a progress bar of that name.
    """
    chosen = np.arange(len(images)) if indices is None else np.asarray(indices)
    parts = [chosen[start : start + batch_size] for start in range(0, len(chosen), batch_size)]
    ready: queue.Queue[list[tuple[NDArray[np.uint8], int]] | BaseException | None] = queue.Queue(AHEAD)
    stop = threading.Event()

    def decode() -> None:
        try:
            with ThreadPoolExecutor(WORKERS) as pool:
                for part in parts:
                    if stop.is_set():
                        return
                    ready.put(list(pool.map(lambda index: images[int(index)], part)))
            ready.put(None)
        except BaseException as error:
            ready.put(error)

    thread = threading.Thread(target=decode, daemon=True)
    thread.start()
    try:
        with tqdm(total=len(chosen), desc=description, unit="image", disable=description is None) as bar:
            while (batch := ready.get()) is not None:
                if isinstance(batch, BaseException):
                    raise batch
                yield np.stack([pixels for pixels, _ in batch]), np.array([label for _, label in batch], np.int64)
                bar.update(len(batch))
    finally:
        stop.set()
        while thread.is_alive():  # it may be waiting for room
            try:
                ready.get(timeout=0.05)
            except queue.Empty:
                continue
