"""A service to ask, and both clients to ask with: one test holds for both."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from tests.blocking import CLIENTS, Make
from tests.fake_triton import FakeTriton


@pytest.fixture
def server() -> Iterator[FakeTriton]:
    with FakeTriton() as running:
        yield running


@pytest.fixture(params=CLIENTS)
def make(request) -> Make:
    return request.param
