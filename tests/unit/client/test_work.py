"""How much work a file makes is told before any of it is done."""

from __future__ import annotations

import io
import time

import numpy as np
import pytest
from PIL import Image

from alexnet_client import work
from alexnet_client.contract import MAX_DECODE_SECONDS
from alexnet_client.preprocess import decode
from alexnet_client.undecodable import UndecodableImage
from deploy.loadtest.hostile import large_image
from tests.bombs import BOMBS, chunk, encoded, png, scans


@pytest.mark.parametrize("name", BOMBS)
def test_a_bomb_is_refused_before_it_is_decoded(name: str) -> None:
    """Its processor time, next to none, shows that no parser has walked through it."""
    file, reason = BOMBS[name]
    before = time.process_time()
    with pytest.raises(UndecodableImage) as caught:
        decode(file)
    assert caught.value.reason == reason
    assert time.process_time() - before < 0.2


def photograph(kind: str, **options: object) -> bytes:
    noise = np.random.default_rng(0).integers(0, 255, (90, 120, 3), np.uint8)
    file = io.BytesIO()
    Image.fromarray(noise).resize((600, 450)).save(file, kind, **options)
    return file.getvalue()


@pytest.mark.parametrize(
    ("kind", "options"),
    [
        ("JPEG", {}),
        ("JPEG", {"progressive": True}),
        ("JPEG", {"restart_marker_rows": 1, "comment": b"\xff\xda" * 9}),
        ("PNG", {}),
        ("GIF", {"comment": b"c" * 5000}),
        ("WEBP", {}),
        ("WEBP", {"lossless": True}),
        ("WEBP", {"exif": b"Exif\0\0MM\0*\0\0\0\x08\0\0\0\0\0\0"}),
    ],
)
def test_an_ordinary_image_is_ordinary_and_its_parts_are_found(kind: str, options: dict[str, object]) -> None:
    file = photograph(kind, **options)
    assert work.EACH < work.seconds(file) < 0.1
    decode(file)


def test_work_grows_with_pixels_and_scans() -> None:
    one, ten = (work.seconds(encoded((1000 * side, 1000), "PNG")) for side in (1, 10))
    assert 9 < (ten - work.EACH) / (one - work.EACH) < 11
    baseline, progressive = (work.seconds(encoded((4000, 3000), "JPEG", progressive=flag)) for flag in (False, True))
    assert progressive > 4 * baseline
    assert work.seconds(large_image()) > 1


def test_what_an_encoder_writes_at_most_is_accepted() -> None:
    """Ten scans over 50 million pixels, as Photoshop and libjpeg write them, and a PNG of 20 MB in pieces of 8 kB."""
    assert work.seconds(encoded((10_000, 5_000), "JPEG", progressive=True)) < MAX_DECODE_SECONDS
    assert work.seconds(scans((100, 100), 50)) < MAX_DECODE_SECONDS
    assert work.seconds(png(5000, 5000, chunk(b"IDAT", bytes(8192)) * 2500)) < MAX_DECODE_SECONDS


@pytest.mark.parametrize("start", work.WALKS)
@pytest.mark.parametrize("length", [0, 1, 7, 16, 40])
def test_what_ends_too_soon_is_its_decoders_business(start: bytes, length: int) -> None:
    assert work.EACH <= work.seconds(start + bytes(length)) < 2 * work.EACH
