"""A plain tritonserver and a client beside it: pixels through shared memory are the same pixels."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from tritonclient.grpc import InferenceServerClient

from alexnet_client import AlexNetClient
from alexnet_client._shared_memory import FOLDER
from alexnet_client.contract import IMAGE
from tests.blocking import CLIENTS, Make
from tests.plain_triton import plain_triton

MODEL = "alexnet_int8"
PIXELS = np.random.default_rng(0).integers(0, 256, (40, *IMAGE.shape), np.uint8)


def regions(url: str) -> list[str]:
    """As the server has them."""
    with InferenceServerClient(url) as client:
        return list(client.get_system_shared_memory_status().regions)


def test_answers_are_equal_and_nothing_is_left(int8_repository: Path, tmp_path: Path) -> None:
    names: list[str] = []
    with plain_triton(int8_repository / MODEL, tmp_path) as url:
        port = int(url.rpartition(":")[2])
        with AlexNetClient(url, MODEL, timeout=60) as client:
            wanted = client.embed(PIXELS)
        for make in CLIENTS:
            names += share(make, url, wanted)
            assert regions(url) == []
        survivor = AlexNetClient(url, MODEL, timeout=60, shared_memory=True)
        survivor.embed(PIXELS[0])
        names += regions(url)
    with survivor, plain_triton(int8_repository / MODEL, tmp_path, port) as url:  # begun anew
        for image, vector in zip(PIXELS[:3], wanted, strict=False):
            same(survivor.embed(image)[0], vector)
        names += regions(url)
    assert len(set(names)) == len(CLIENTS) + 2
    assert not [name for name in names if (FOLDER / name).exists()]


def same(got: np.ndarray | None, wanted: np.ndarray) -> None:
    """Rounding may differ with what else is in a batch."""
    np.testing.assert_allclose(got, wanted, atol=1e-4)


def share(make: Make, url: str, wanted: np.ndarray) -> list[str]:
    with make(url, MODEL, timeout=60, shared_memory=True) as client:
        client.embed(PIXELS[0])
        found = regions(url)
        same(client.embed(PIXELS), wanted)
        for answer, vector in zip(client.stream(iter(PIXELS), embed=True), wanted, strict=True):
            same(answer.embedding, vector)
        with pytest.raises(AssertionError):  # another picture's is another
            same(client.embed(PIXELS[1])[0], wanted[0])
    return found
