"""The benchmark of reading reads what training reads."""

from dataclasses import replace
from pathlib import Path

import pytest
import torch

from training import bench, recipe
from training.data.image_set import DataError, ImageSet
from training.fit.distributed import Group
from training.fit.run import Run


def run(folder: Path, workers: int) -> Run:
    small = replace(recipe.load("imagenet"), batch_size=2)
    return Run(small, Group(0, 1, torch.device("cpu")), folder, folder / "metrics.jsonl", workers)


@pytest.mark.parametrize("workers", [0, 1])
def test_its_figures_fit_together(images: ImageSet, tmp_path: Path, workers: int) -> None:
    got = bench.measure(images, run(tmp_path, workers), count=100)
    assert got.workers == workers
    assert got.start > 0
    assert 0 < got.own_cpu < 0.1
    if not workers:  # one process does all: it cannot have more CPU than time
        assert got.own_cpu * got.images_per_second < torch.get_num_threads() + 0.5
        assert got.own_cpu > bench.decoding(images)
    header, row = bench.table([got]).splitlines()
    assert header.split()[0] == "workers"
    assert row.split()[:2] == [str(workers), f"{got.images_per_second:.0f}"]


def test_too_few_images_to_measure_are_refused(images: ImageSet, tmp_path: Path) -> None:
    with pytest.raises(DataError, match="got 11 images to measure 1 workers with: want at least 12"):
        bench.measure(images, run(tmp_path, 1), count=11)
