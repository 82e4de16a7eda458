"""Which of a call's images travel together, and as what."""

from __future__ import annotations

import numpy as np
import pytest

from alexnet_client import AlexNetClient, InvalidImage, _request, work
from alexnet_client._images import as_file
from alexnet_client.contract import IMAGE, LARGE_IMAGE_SECONDS
from alexnet_client.preprocess import decode
from tests.bombs import encoded
from tests.fake_triton import FakeTriton

PICTURE = np.zeros(IMAGE.shape, np.uint8)


def test_files_travel_together_as_far_as_the_contract_allows(server: FakeTriton, monkeypatch) -> None:
    """By bytes and by work; the answers are in order all the same."""
    pictures = [as_file(np.full((8, 8, 3), shade, np.uint8)) for shade in range(32)]
    monkeypatch.setattr(_request, "LARGE_REQUEST_SECONDS", 10.5 * work.seconds(pictures[0]))
    with AlexNetClient(server.url) as client:
        by_work = client.embed(pictures)
        monkeypatch.undo()
        monkeypatch.setattr(_request, "MAX_REQUEST_BYTES", 10_000)
        by_bytes = client.embed(pictures)
    sizes = [request.inputs[0].shape[0] for request in server.requests]
    assert sorted(sizes[:4]) == [2, 10, 10, 10]  # in the order of their arrival, which is any
    assert sum(sizes[4:]) == 32
    assert len(sizes[4:]) > 2
    assert all(request.ByteSize() <= 10_000 for request in server.requests[4:])
    np.testing.assert_array_equal(by_work, by_bytes)
    assert len(np.unique(by_work[:, 0])) == 32


def test_a_bad_one_of_a_request_that_was_divided_is_named_by_its_place(server: FakeTriton, monkeypatch) -> None:
    monkeypatch.setattr(_request, "LARGE_REQUEST_SECONDS", 10.5 * work.EACH)
    good = as_file(PICTURE)
    with AlexNetClient(server.url) as client, pytest.raises(InvalidImage) as caught:
        client.embed([good] * 25 + [good[:-40]] + [good] * 6)
    assert list(caught.value.images) == [25]


def test_a_large_file_is_decoded_here(server: FakeTriton) -> None:
    """The server would do so only when nobody else waits; the pixels are the same."""
    large = encoded((4000, 2500), "PNG")
    assert work.seconds(large) > LARGE_IMAGE_SECONDS
    with AlexNetClient(server.url) as client:
        client.embed(large)
    sent = server.requests[0].raw_input_contents[0][4:]
    assert work.seconds(sent) < LARGE_IMAGE_SECONDS
    np.testing.assert_array_equal(decode(sent), decode(large))
