"""Preprocessing against an independent computation, and every kind of image that is refused."""

import io
import os
from pathlib import Path

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from PIL import Image

from alexnet_client import InvalidRequest, contract
from alexnet_client._images import Unusable, as_file, as_list, as_pixels
from alexnet_client.preprocess import decode, preprocess
from alexnet_client.undecodable import REASONS, UndecodableImage

GENERATOR = np.random.default_rng(0)


def encoded(image: Image.Image, kind: str = "PNG", **options) -> bytes:
    file = io.BytesIO()
    image.save(file, kind, **options)
    return file.getvalue()


def photograph(width: int = 500, height: int = 375) -> Image.Image:
    coarse = GENERATOR.integers(0, 255, (8, 10, 3), np.uint8)
    return Image.fromarray(coarse).resize((width, height), Image.Resampling.BICUBIC)


@pytest.mark.parametrize("size", [(500, 375), (375, 500), (256, 256), (28, 28), (1000, 300)])
def test_it_is_resize_256_and_centre_crop_224(size: tuple[int, int]) -> None:
    """Against the two steps done one after the other, which round twice: within a few levels, a fraction on average."""
    image = photograph(*size)
    width, height = size
    scale = 256 / min(size)
    resized = image.resize((round(width * scale), round(height * scale)), Image.Resampling.BILINEAR)
    left, top = (resized.width - 224) // 2, (resized.height - 224) // 2
    wanted = np.asarray(resized.crop((left, top, left + 224, top + 224))).astype(int)
    difference = np.abs(preprocess(image).astype(int) - wanted)
    assert difference.mean() < 2.5
    assert preprocess(image).shape == contract.IMAGE.shape


def test_an_image_of_256_pixels_is_only_cropped() -> None:
    image = Image.fromarray(GENERATOR.integers(0, 255, (256, 256, 3), np.uint8))
    np.testing.assert_array_equal(preprocess(image), np.asarray(image)[16:240, 16:240])


@pytest.mark.parametrize("kind", ["JPEG", "PNG", "WEBP", "GIF"])
def test_every_format_is_decoded(kind: str) -> None:
    image = photograph()
    got = decode(encoded(image, kind)).astype(int)
    assert np.abs(got - preprocess(image)).mean() < 8  # lossy formats and palettes


@pytest.mark.parametrize(
    ("image", "wanted"),
    [
        (Image.new("L", (40, 30), 200), (200, 200, 200)),
        (Image.new("1", (40, 30), 1), (255, 255, 255)),
        (Image.new("RGBA", (40, 30), (255, 0, 0, 0)), (255, 255, 255)),
        (Image.new("RGBA", (40, 30), (255, 0, 0, 255)), (255, 0, 0)),
        (Image.new("LA", (40, 30), (0, 0)), (255, 255, 255)),
        (Image.new("P", (40, 30), 0), (0, 0, 0)),
        (Image.fromarray(np.full((30, 40), 0xABCD, np.uint16)), (0xAB, 0xAB, 0xAB)),
    ],
    ids=["grey", "bilevel", "transparent", "opaque", "grey-alpha", "palette", "16-bit"],
)
def test_every_colour_mode_of_png_becomes_rgb(image: Image.Image, wanted: tuple[int, int, int]) -> None:
    np.testing.assert_array_equal(decode(encoded(image))[100, 100], wanted)


def test_cmyk_becomes_rgb() -> None:
    got = decode(encoded(Image.new("CMYK", (40, 30), (0, 255, 255, 0)), "JPEG"))[100, 100].astype(int)
    assert np.abs(got - (255, 0, 0)).max() < 4


def test_exif_rotation_is_applied() -> None:
    image = Image.new("RGB", (300, 300), "black")
    image.paste("white", (0, 0, 300, 150))  # white above
    exif = Image.Exif()
    exif[0x0112] = 6  # turn by 90 degrees clockwise to see it upright
    got = decode(encoded(image, "JPEG", exif=exif))
    assert got[112, 200].mean() > 250  # white at the right
    assert got[112, 20].mean() < 5


def test_the_first_frame_of_an_animation_counts() -> None:
    frames = [Image.new("RGB", (40, 40), colour) for colour in ("red", "blue")]
    got = decode(encoded(frames[0], "GIF", save_all=True, append_images=frames[1:]))
    np.testing.assert_array_equal(got[5, 5], (255, 0, 0))


def test_a_large_jpeg_is_decoded_at_a_smaller_scale_and_looks_the_same() -> None:
    image = photograph(4000, 3000)
    difference = np.abs(decode(encoded(image, "JPEG")).astype(int) - preprocess(image))
    assert difference.mean() < 2


JPEG, PNG = encoded(photograph(), "JPEG"), encoded(photograph())


def header(width: int, height: int) -> bytes:
    import struct
    import zlib

    chunk = b"IHDR" + struct.pack(">IIBBBBB", width, height, 8, 2, 0, 0, 0)
    return PNG[:8] + struct.pack(">I", 13) + chunk + struct.pack(">I", zlib.crc32(chunk)) + PNG[33:]


@pytest.mark.parametrize(
    ("data", "reason", "message"),
    [
        (b"", "empty", "got an empty image"),
        (b"hello world", "unknown_format", "got 11 bytes that are no JPEG, PNG, WEBP or GIF file"),
        (JPEG[: len(JPEG) // 2], "corrupt", "truncated or corrupt"),
        (PNG[: len(PNG) // 2], "corrupt", "truncated or corrupt"),
        (PNG[:20], "corrupt", "truncated or corrupt"),
        (header(40_000, 40_000), "too_many_pixels", "at most 50,000,000 are accepted"),
        (header(10_000, 10_000), "too_many_pixels", "at most 50,000,000 are accepted"),
        (header(8_000, 8_000), "too_many_pixels", "got an image of 8,000 x 8,000 pixels"),
        (header(0, 10), "unknown_format", "no JPEG"),
        (b"\xff\xd8\xff" + bytes(contract.MAX_ENCODED_BYTES), "too_many_bytes", "at most 20,971,520 are accepted"),
        (encoded(Image.new("RGB", (4, 4)), "BMP"), "unknown_format", "no JPEG"),
    ],
)
def test_bad_files_are_refused_with_a_reason(data: bytes, reason: str, message: str) -> None:
    with pytest.raises(UndecodableImage, match=message) as caught:
        decode(data)
    assert caught.value.reason == reason


@settings(max_examples=300, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(
    source=st.sampled_from([JPEG, PNG, encoded(photograph(90, 60), "WEBP"), encoded(photograph(90, 60), "GIF")]),
    edits=st.lists(st.tuples(st.floats(0, 1), st.integers(0, 255)), max_size=12),
    cut=st.floats(0, 1),
)
def test_mutated_files_are_decoded_or_refused_and_nothing_else(source: bytes, edits, cut: float) -> None:
    data = bytearray(source)
    for place, value in edits:
        data[int(place * (len(data) - 1))] = value
    data = data[: int(len(data) * (1 - cut * 0.3))]
    try:
        assert decode(bytes(data)).shape == contract.IMAGE.shape
    except UndecodableImage as error:
        assert error.reason in REASONS
        assert "\n" not in str(error)


def test_every_way_to_hand_over_an_image_is_the_same_image(tmp_path: Path) -> None:
    image = photograph()
    path = tmp_path / "image.png"
    path.write_bytes(data := encoded(image))
    buffer = memoryview(bytearray(data))
    for given_as in (path, str(path), data, bytearray(data), buffer, image, np.asarray(image)):
        np.testing.assert_array_equal(as_pixels(given_as), preprocess(image))
        np.testing.assert_array_equal(decode(as_file(given_as)), preprocess(image))
    for make in (as_pixels, lambda file: decode(as_file(file))):
        with path.open("rb") as file:
            np.testing.assert_array_equal(make(file), preprocess(image))
        np.testing.assert_array_equal(make(io.BytesIO(data)), preprocess(image))
    assert as_file(path) == as_file(bytearray(data)) == data


def test_ready_pixels_arrive_as_they_are_whoever_decodes() -> None:
    ready = GENERATOR.integers(0, 255, (224, 224, 3), np.uint8)
    assert as_pixels(ready) is ready
    np.testing.assert_array_equal(decode(as_file(ready)), ready)


def test_a_grey_array_is_the_pillow_image_of_it_at_any_size() -> None:
    for side in (224, 256, 300):
        grey = GENERATOR.integers(0, 255, (side, side), np.uint8)
        for make in (as_pixels, as_file):
            np.testing.assert_array_equal(make(grey), make(Image.fromarray(grey)))


@pytest.mark.parametrize(
    ("bad", "message"),
    [
        (np.zeros((0, 10, 3), np.uint8), r"uint8\[0, 10, 3\]: want"),
        (np.zeros((0,), np.uint8), "want uint8"),
        (np.zeros((10, 10, 3), np.float32), r"float32\[10, 10, 3\]: want uint8"),
        (np.zeros((10, 10, 4), np.uint8), "want uint8"),
        (np.zeros((3, 224, 224), np.uint8), "want uint8"),
        (np.zeros((2, 10, 10, 3), np.uint8), "want uint8"),
        (17, "got a int: want a path"),
        (None, "got a NoneType: want a path"),
        ("no/such/file.png", "No such file .* can be read"),
        ("\0", "null byte"),
        (io.StringIO("text"), "open it with mode 'rb'"),
        (bytearray(contract.MAX_ENCODED_BYTES + 1), "at most 20,971,520 are accepted"),
    ],
    ids=lambda value: str(value)[:20],
)
def test_what_is_no_image_is_refused_before_it_travels(bad, message: str) -> None:
    for make in (as_pixels, as_file):
        with pytest.raises((Unusable, UndecodableImage), match=message):
            make(bad)


@pytest.mark.parametrize("make", [as_pixels, as_file])
def test_what_has_no_end_is_not_waited_for(make, tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe")
    for path in (tmp_path / "pipe", "/dev/zero", "/dev/stdin"):
        with pytest.raises(Unusable, match="is no regular file: want an image file"):
            make(path)
    with Path("/dev/zero").open("rb") as endless, pytest.raises(UndecodableImage, match="at most 20,971,520"):
        make(endless)


def test_a_file_that_is_too_large_is_refused_unread(tmp_path: Path) -> None:
    """By its size, which is said: of three gigabytes none is read."""
    with (tmp_path / "large.jpg").open("wb") as file:
        file.truncate(3 * 2**30)
    for make in (as_pixels, as_file):
        with pytest.raises(UndecodableImage, match="3,221,225,472 bytes, at most 20,971,520"):
            make(tmp_path / "large.jpg")


def test_a_closed_file_is_refused(tmp_path: Path) -> None:
    (tmp_path / "a").write_bytes(PNG)
    with (tmp_path / "a").open("rb") as file:
        pass
    with pytest.raises(Unusable, match="closed file"):
        as_file(file)


def test_one_image_is_a_list_of_one() -> None:
    image = np.zeros((10, 12, 3), np.uint8)
    for one in (
        "a.png", b"x", bytearray(b"xy"), memoryview(b"xy"), io.BytesIO(b"xy\nz"), Path("a.png"), Image.new("L", (2, 2)),
        image, image[:, :, 0],
    ):  # fmt: skip
        (only,) = as_list(one)
        assert only is one
    assert len(as_list(np.zeros((5, 10, 12, 3), np.uint8))) == 5
    assert as_list(iter(["a", "b"])) == ["a", "b"]
    for none in (17, None):
        with pytest.raises(InvalidRequest, match="for images: want a path"):
            as_list(none)
