"""Unit tests are offline and need no server, no demo and no data set."""

from __future__ import annotations

import pytest

from tests.patterns import Patterns
from training.data.image_set import ImageSet


@pytest.fixture(scope="session")
def images() -> ImageSet:
    """A handful of synthetic pictures."""
    return Patterns()
