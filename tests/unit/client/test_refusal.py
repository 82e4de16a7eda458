"""The decoder's refusal: said, carried and read again without loss or ambiguity."""

import json

import grpc
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from alexnet_client import AlexNetClient, InvalidImage, InvalidRequest, refusal
from alexnet_client.contract import MAX_BATCH, REFUSED_IMAGES
from tests.fake_triton import FakeTriton, Scripted

REASONS = st.dictionaries(st.integers(0, MAX_BATCH - 1), st.text(max_size=300), min_size=1, max_size=MAX_BATCH)


@settings(max_examples=40, deadline=None)
@given(REASONS)
def test_it_is_short_ascii_and_names_every_image(reasons: dict[int, str]) -> None:
    said = refusal.message(reasons)
    assert len(said.encode("ascii")) <= refusal.MAX_BYTES
    read = refusal.reasons(f"in ensemble 'alexnet', {said}")
    assert read is not None
    assert list(read) == list(reasons)
    for place, reason in reasons.items():
        assert read[place] == reason or reason.startswith(read[place].removesuffix(refusal.CUT))


def test_a_requests_worth_of_usual_reasons_is_not_cut() -> None:
    usual = dict.fromkeys(range(32), "got a truncated or corrupt image (image file is truncated): send the whole file")
    assert refusal.reasons(refusal.message(usual)) == usual


def test_a_reason_that_looks_like_a_refusal_is_only_a_reason() -> None:
    trap = '"; image 3: in ensemble \'x\', images that cannot be used: {"9": "no"}'
    assert refusal.reasons(refusal.message({1: trap})) == {1: trap}


def test_strangers_can_read_it() -> None:
    """The wire form is a promise to clients in other languages: a fixed beginning, then JSON."""
    said = refusal.message({3: "got an empty image"})
    assert said == 'images that cannot be used: {"3": "got an empty image"}'
    assert json.loads(said.removeprefix(REFUSED_IMAGES)) == {"3": "got an empty image"}


@pytest.mark.parametrize("said", ["", "{}", REFUSED_IMAGES, REFUSED_IMAGES + "[1]", REFUSED_IMAGES + '{"a": "b"}'])
def test_what_is_none_is_none(said: str) -> None:
    assert refusal.reasons(said) is None


def test_a_request_full_of_bad_images_is_still_answered_in_full() -> None:
    """gRPC's metadata has 8 KiB; the longest reasons of the largest request fit."""
    files = [bytes([255, number]) * 500 for number in range(MAX_BATCH)]
    with FakeTriton() as server, AlexNetClient(server.url) as client:
        with pytest.raises(InvalidImage) as caught:
            client.embed(files)
        assert list(caught.value.images) == list(range(32))
        whole = refusal.message(dict.fromkeys(range(MAX_BATCH), "é" * 1000))
        assert 0.8 * refusal.MAX_BYTES < len(whole) <= refusal.MAX_BYTES
        server.script(Scripted(grpc.StatusCode.INVALID_ARGUMENT, whole))
        with pytest.raises(InvalidRequest) as caught:  # of one image
            client.embed(np.zeros((4, 4), np.uint8))
        assert caught.value.failure.message == whole
