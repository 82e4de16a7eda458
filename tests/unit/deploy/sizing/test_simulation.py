"""Many replicas by events."""

from __future__ import annotations

import numpy as np
import pytest

from deploy.sizing.service import Service
from deploy.sizing.simulation import simulate
from deploy.sizing.sizing_error import SizingError

SERVICE = Service(0.010, 0.001, 32)


def test_one_request_at_a_time_takes_its_service_alone() -> None:
    assert simulate(SERVICE, 0.01, 50) == pytest.approx(0.011)


def test_sharing_at_random_is_as_one_replica_and_least_of_two_is_better() -> None:
    one = np.percentile(simulate(SERVICE, 500.0, 8_000), 99)
    random = np.percentile(simulate(SERVICE, 10_000.0, 20_000, replicas=20), 99)
    two = np.percentile(simulate(SERVICE, 10_000.0, 20_000, replicas=20, choices=2), 99)
    assert random == pytest.approx(one, rel=0.1)
    assert two < 0.9 * random


def test_a_seed_is_a_simulation() -> None:
    assert (simulate(SERVICE, 100.0, 100, seed=3) == simulate(SERVICE, 100.0, 100, seed=3)).all()


def test_nonsense_is_refused() -> None:
    with pytest.raises(SizingError, match="got 0 replicas and 1 choices: want both above 0"):
        simulate(SERVICE, 1.0, 10, replicas=0)
    with pytest.raises(SizingError, match="got 10 requests, 0 a second: want both above 0"):
        simulate(SERVICE, 0.0, 10)
