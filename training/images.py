"""Images with labels: what every data set looks like to the stages after it."""

from __future__ import annotations

import queue
import threading
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Protocol

import numpy as np
from numpy.typing import NDArray
from tqdm import tqdm

#: Batches decoded ahead of their use.
AHEAD = 4
WORKERS = 2


class DataError(ValueError):
    """A data set that is missing, damaged or not to be had."""


class ImageSet(Protocol):
    """One split of a data set."""

    name: str
    #: The class names, in the order of the labels.
    labels: tuple[str, ...]
    #: int64[N], the label of each image.
    targets: NDArray[np.int64]
    #: Of the data it was read from.
    sha256: str

    def __len__(self) -> int:
        """How many images."""

    def __getitem__(self, index: int) -> tuple[NDArray[np.uint8], int]:
        """Image ``index``, preprocessed, ``uint8[224, 224, 3]``, and its label."""

    def file(self, index: int) -> bytes:
        """Image ``index`` as a file, as a user would send it."""


def open_split(data: Path, split: str) -> ImageSet:
    """Open a split of the data set in ``data``: Fashion-MNIST's four files, or ``split/class/image`` folders.

    Raises:
        DataError: it is neither, or has no such split.
    """
    from training.fashion_mnist import FashionMnist, is_fashion_mnist  # noqa: PLC0415  they build on this module
    from training.image_folder import ImageFolder  # noqa: PLC0415

    if is_fashion_mnist(data):
        return FashionMnist(data, split)
    if (data / split).is_dir():
        return ImageFolder(data, split)
    raise DataError(
        f"{data} is no data set with a split {split!r}: want {split}/<class>/<image> folders, "
        "or Fashion-MNIST as `python -m training fetch fashion-mnist` writes it"
    )


def check_labels(images: ImageSet, labels: Sequence[str], whose: Path) -> None:
    """Check that a data set's classes are those that a network knows, in the same order.

    Raises:
        DataError: they are others; shows both.
    """
    if tuple(images.labels) != tuple(labels):
        raise DataError(
            f"{whose} knows the classes {_some(labels)}, {images.name} has {_some(images.labels)}: "
            "want the same ones, give --data"
        )


def _some(labels: Sequence[str]) -> str:
    return ", ".join(labels[:3]) + (f"... ({len(labels):,})" if len(labels) > 3 else "")


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
