"""The queue and the batcher alone: with a network that only sleeps, nothing else can take time."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from deploy.loadtest import sleeping
from deploy.loadtest.clients import measure_clients
from deploy.loadtest.measurement import ONE_CLIENT

IMAGE = np.zeros((224, 224, 3), np.uint8)


def test_no_call_stands_still_in_the_queue(tmp_path: Path) -> None:
    """Of 100 images a second that the sleep allows: with one sequential call in fifteen 513 ms long, and one burst of
    eight in two, it was 21 and 57 to 70. A busy machine may delay a few, so no single call is judged."""
    with sleeping.sleeping_server(tmp_path) as url:
        alone = measure_clients(url, sleeping.MODEL, 1, 4, IMAGE)
        eight = measure_clients(url, sleeping.MODEL, 8, 4, IMAGE)
        shared = measure_clients(url, sleeping.MODEL, 4, 2, IMAGE, ONE_CLIENT)
    assert alone.images_per_second > 35, alone
    assert eight.images_per_second > 72, eight
    assert shared.images_per_second > 45, shared
    for point in (alone, eight, shared):
        assert point.p50_ms < 150, point


def test_a_client_that_fails_ends_the_measurement(tmp_path: Path) -> None:
    from alexnet_client import UnknownModel

    with sleeping.sleeping_server(tmp_path) as url, pytest.raises(UnknownModel):
        measure_clients(url, "alexnet_fp16", 3, 1, IMAGE)
