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
    """One sequential call in fifteen took 513 ms, and one burst of eight in two; a busy machine may delay a few."""
    with sleeping.sleeping_server(tmp_path) as url:
        alone = measure_clients(url, sleeping.MODEL, 1, 4, IMAGE)
        eight = measure_clients(url, sleeping.MODEL, 8, 4, IMAGE)
        shared = measure_clients(url, sleeping.MODEL, 4, 2, IMAGE, ONE_CLIENT)
    for point in (alone, eight, shared):
        assert point.p99_ms < 400, point


def test_a_client_that_fails_ends_the_measurement(tmp_path: Path) -> None:
    from alexnet_client import UnknownModel

    with sleeping.sleeping_server(tmp_path) as url, pytest.raises(UnknownModel):
        measure_clients(url, "alexnet_fp16", 3, 1, IMAGE)
