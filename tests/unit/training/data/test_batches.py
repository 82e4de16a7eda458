"""Batches: the same whoever decodes them, and no process is left behind."""

import multiprocessing
import os
import signal
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from alexnet_client.errors import FileError
from training.data.batches import batches
from training.data.image_folder import ImageFolder
from training.data.image_set import DataError, ImageSet


@pytest.fixture
def photographs(tmp_path: Path) -> Path:
    for label in ("cat", "dog"):
        (tmp_path / "train" / label).mkdir(parents=True)
        for number in range(3):
            Image.new("RGB", (300, 260), (number * 50, 0, 0)).save(tmp_path / "train" / label / f"{number}.jpg")
    return tmp_path


@pytest.mark.parametrize("workers", [0, 1, 2])
def test_they_are_in_order_complete_and_the_images_own_pixels(images: ImageSet, workers: int) -> None:
    chosen = [5, 3, 9, 1, 7, 0, 8]
    got = list(batches(images, 2, chosen, workers=workers))
    assert [len(pixels) for pixels, _ in got] == [2, 2, 2, 1]
    targets = np.concatenate([targets for _, targets in got])
    assert (targets.dtype, targets.tolist()) == (np.int64, images.targets[chosen].tolist())
    pixels = np.concatenate([pixels for pixels, _ in got])
    assert pixels.dtype == np.uint8
    np.testing.assert_array_equal(pixels, np.stack([images[index][0] for index in chosen]))


@pytest.mark.parametrize("workers", [0, 1])
def test_the_trainings_random_numbers_do_not_depend_on_them(images: ImageSet, workers: int) -> None:
    before = torch.get_rng_state()
    list(batches(images, 2, [1, 2], workers=workers))
    assert torch.equal(torch.get_rng_state(), before)


def test_a_reader_that_stops_early_leaves_no_process(images: ImageSet) -> None:
    reading = batches(images, 2, workers=2)
    next(reading)
    assert len(multiprocessing.active_children()) == 2
    reading.close()
    assert not multiprocessing.active_children()


@pytest.mark.parametrize("workers", [0, 2])
def test_a_file_damaged_after_the_scan_is_named_in_one_line(photographs: Path, workers: int) -> None:
    images = ImageFolder(photographs, "train")
    (photographs / "train/cat/2.jpg").write_bytes(b"x")
    with pytest.raises(DataError, match=r"cat/2\.jpg was damaged after the scan: got 1 bytes") as caught:
        list(batches(images, 2, workers=workers))
    assert "\n" not in str(caught.value)
    assert not multiprocessing.active_children()
    (photographs / "train/cat/2.jpg").unlink()
    with pytest.raises(FileError, match=r"cat/2\.jpg"):
        list(batches(images, 2, workers=workers))


def test_a_worker_that_is_killed_is_said_so(images: ImageSet) -> None:
    reading = batches(images, 1, workers=1)
    next(reading)
    (worker,) = multiprocessing.active_children()
    os.kill(worker.pid, signal.SIGKILL)
    with pytest.raises(DataError, match="a process that decodes images was killed .*use fewer than 1 workers"):
        list(reading)


@pytest.mark.parametrize("workers", [0, 1])
def test_no_images_are_no_batches(images: ImageSet, workers: int) -> None:
    assert not list(batches(images, 2, [], workers=workers))
