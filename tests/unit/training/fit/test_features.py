"""Cached features: the network's own, kept by chunks, the same after an interruption."""

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from numpy.typing import NDArray

from training import recipe
from training.data.image_set import ImageSet
from training.fit import features as module
from training.fit.distributed import Group
from training.fit.features import cached_features
from training.fit.run import Run
from training.model import AlexNet, normalise

ALONE = Group(0, 1, torch.device("cpu"))
INDICES = np.array([4, 1, 7, 2, 9])


@pytest.fixture(scope="module")
def network() -> AlexNet:
    torch.manual_seed(0)
    return AlexNet(classes=2).eval()


@pytest.fixture
def extract(network: AlexNet, images: ImageSet, monkeypatch: pytest.MonkeyPatch) -> Callable[[Path], torch.Tensor]:
    monkeypatch.setattr(module, "CHUNK", 2)
    monkeypatch.setattr(module, "BATCH", 1)
    return lambda folder: cached_features(network.features, images, INDICES, run(folder))


def run(folder: Path, precision: str = "fp32") -> Run:
    return Run(replace(recipe.load("smoke"), precision=precision), ALONE, folder, folder / "metrics.jsonl")


def pixels(images: ImageSet) -> NDArray[np.uint8]:
    return np.stack([images[int(index)][0] for index in INDICES])


def test_features_are_what_the_dense_layers_would_see(extract, network, images: ImageSet, tmp_path: Path) -> None:
    got = extract(tmp_path)
    assert (got.shape, got.dtype) == ((5, 9216), torch.float16)
    with torch.inference_mode():
        wanted = network(normalise(torch.from_numpy(pixels(images))))[0]
        torch.testing.assert_close(network.classifier(got.float()), wanted, atol=1e-3, rtol=1e-2)


def test_an_interrupted_extraction_keeps_what_is_done_and_ends_the_same(extract, tmp_path: Path) -> None:
    wanted = extract(tmp_path / "a")
    extract(tmp_path / "b")
    kept, lost = tmp_path / "b" / "features-00000.npy", tmp_path / "b" / "features-00001.npy"
    before = kept.stat().st_mtime_ns
    lost.unlink()
    assert torch.equal(extract(tmp_path / "b"), wanted)
    assert kept.stat().st_mtime_ns == before
    assert lost.is_file()


def test_bf16_is_close_to_fp32(network, images: ImageSet, tmp_path: Path) -> None:
    both = [
        cached_features(network.features, images, INDICES[:1], run(tmp_path / precision, precision)).float()
        for precision in ("fp32", "bf16")
    ]
    assert not torch.equal(*both)
    assert torch.nn.functional.cosine_similarity(*both).item() > 0.999
