"""One event loop a client."""

from __future__ import annotations

import asyncio

import pytest

from alexnet_client import AsyncAlexNetClient
from tests.fake_triton import FakeTriton
from tests.patterns import Patterns


def test_a_second_event_loop_is_refused_in_one_line(server: FakeTriton) -> None:
    client = AsyncAlexNetClient(server.url)

    async def ask() -> None:
        assert (await client.embed(Patterns().file(0))).shape == (1, 4096)

    asyncio.run(ask())
    before = server.calls["ModelInfer"]
    with pytest.raises(RuntimeError, match=r"was used in another event loop: make a client for each") as caught:
        asyncio.run(ask())
    assert len(str(caught.value).splitlines()) == 1
    assert server.calls["ModelInfer"] == before
    asyncio.run(client.close())
