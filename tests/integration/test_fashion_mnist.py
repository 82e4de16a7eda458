"""The real Fashion-MNIST, fetched."""

import shutil
from pathlib import Path

import numpy as np
import pytest

from alexnet_client.preprocess import decode
from training.data import fashion_mnist as module
from training.data.fashion_mnist import FashionMnist
from training.data.image_set import DataError, ImageSet
from training.data.open import open_split


def test_the_real_data_set_has_its_published_sizes(fashion_mnist: Path) -> None:
    train, test = open_split(fashion_mnist, "train"), open_split(fashion_mnist, "test")
    assert (len(train), len(test)) == (60_000, 10_000)
    assert np.bincount(test.targets).tolist() == [1000] * 10
    assert train.labels[train[0][1]] == "Ankle boot"  # the first image of its paper's figure
    assert train.sha256 != test.sha256


def test_the_file_of_an_image_is_the_image(images: ImageSet) -> None:
    np.testing.assert_array_equal(decode(images.file(3)), images[3][0])
    assert images[3][0].shape == (224, 224, 3)


def test_fetching_again_keeps_what_is_whole_and_mends_what_is_not(fashion_mnist: Path, tmp_path: Path) -> None:
    copy = tmp_path / "data"
    shutil.copytree(fashion_mnist, copy)
    whole, broken = copy / "train-labels-idx1-ubyte.gz", copy / "t10k-labels-idx1-ubyte.gz"
    before = whole.stat().st_mtime_ns
    broken.write_bytes(broken.read_bytes()[:100])
    with pytest.raises(DataError, match=r"t10k-labels-idx1-ubyte\.gz is damaged"):
        FashionMnist(copy, "test")
    module.fetch(copy)
    assert whole.stat().st_mtime_ns == before
    assert len(FashionMnist(copy, "test")) == 10_000


def test_an_official_download_is_taken_where_debians_package_is_not(
    tmp_path: Path, fashion_mnist: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The real fetching code, its address pointed at a folder."""
    monkeypatch.setenv("PATH", "")  # no apt-get
    monkeypatch.setattr(module, "OFFICIAL", fashion_mnist.as_uri())
    module.fetch(tmp_path)
    assert len(FashionMnist(tmp_path, "test")) == 10_000
