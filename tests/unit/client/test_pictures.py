"""Pillow images of every mode, laid down every way: the same pixels whoever decodes, and the right ones."""

import io
import struct
import zlib
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image, ImageOps

from alexnet_client._images import as_file, as_pixels
from alexnet_client.preprocess import decode, preprocess
from alexnet_client.undecodable import REASONS, UndecodableImage

ORIENTATION = 0x0112
NO_WHITE = ("I", "F")
MODES = [mode for mode in Image.MODES if mode not in NO_WHITE]
RED = (255, 0, 0)


def picture(mode: str, size: tuple[int, int], seed: int) -> Image.Image:
    """Any bytes, as an image of a mode."""
    blank = Image.new(mode, size)
    return Image.frombytes(mode, size, np.random.default_rng(seed).bytes(len(blank.tobytes())))


def turned(image: Image.Image, orientation: int) -> Image.Image:
    image.getexif()[ORIENTATION] = orientation
    return image


@settings(max_examples=150, deadline=None)
@given(
    mode=st.sampled_from(MODES),
    orientation=st.integers(1, 8),
    size=st.tuples(st.integers(1, 60), st.integers(1, 60)),
    seed=st.integers(0, 99),
)
def test_both_sides_see_the_same_pixels(mode: str, orientation: int, size: tuple[int, int], seed: int) -> None:
    image = turned(picture(mode, size, seed), orientation)
    np.testing.assert_array_equal(decode(as_file(image)), as_pixels(image))


@pytest.mark.parametrize("mode", MODES)
@pytest.mark.parametrize("orientation", range(1, 9))
def test_every_mode_is_laid_upright(mode: str, orientation: int) -> None:
    """Against Pillow's own transposition, of the same picture."""
    plain = picture(mode, (50, 40), 7)
    upright = ImageOps.exif_transpose(turned(plain.copy(), orientation))
    np.testing.assert_array_equal(as_pixels(turned(plain, orientation)), as_pixels(upright))


@pytest.mark.parametrize("mode", ["1", "L", "P", "RGB", "RGBA", "LA", "I;16"])
def test_a_file_of_it_is_the_same_image(mode: str) -> None:
    image = picture(mode, (50, 40), 3)
    file = io.BytesIO()
    image.save(file, "PNG")
    np.testing.assert_array_equal(decode(file.getvalue()), as_pixels(image))


@pytest.mark.parametrize(
    ("mode", "colour", "wanted"),
    [
        ("CMYK", (0, 255, 255, 0), RED),
        ("YCbCr", (76, 85, 255), RED),
        ("HSV", (0, 255, 255), RED),
        ("LAB", (255, 128, 128), (255, 255, 255)),
        ("RGBX", (255, 0, 0, 9), RED),
        ("RGBa", (0, 0, 0, 0), (255, 255, 255)),
        ("La", (0, 0), (255, 255, 255)),
        ("PA", (0, 0), (255, 255, 255)),
        ("I;16", 0xABCD, (0xAB, 0xAB, 0xAB)),
        ("I;16B", 0xABCD, (0xAB, 0xAB, 0xAB)),
    ],
)
def test_colours_are_those_that_were_meant(mode: str, colour, wanted: tuple[int, int, int]) -> None:
    got = as_pixels(Image.new(mode, (30, 20), colour))[100, 100].astype(int)
    assert np.abs(got - wanted).max() <= 2


@pytest.mark.parametrize("mode", NO_WHITE)
def test_values_without_a_fixed_white_are_refused(mode: str) -> None:
    for make in (as_pixels, as_file):
        with pytest.raises(UndecodableImage, match=f'mode {mode}, .* convert it to mode "L" first') as caught:
            make(Image.new(mode, (30, 20), 100))
        assert caught.value.reason in REASONS


def test_a_callers_image_stays_as_it_is(tmp_path: Path) -> None:
    """Large JPEG files are decoded at a smaller scale, but not behind the back of whoever opened one."""
    path = tmp_path / "large.jpg"
    Image.new("RGB", (2000, 1600), RED).save(path)
    with Image.open(path) as image:
        as_pixels(image)
        assert image.size == (2000, 1600)


def test_an_image_without_pixels_is_refused() -> None:
    with pytest.raises(UndecodableImage, match="0 x 5 pixels"):
        preprocess(Image.new("RGB", (0, 5)))


def test_a_file_that_breaks_off_is_refused_as_a_pillow_image_too() -> None:
    file = io.BytesIO()
    picture("RGB", (60, 60), 1).save(file, "PNG")
    with Image.open(io.BytesIO(file.getvalue()[:5000])) as image, pytest.raises(UndecodableImage, match="truncated"):
        as_pixels(image)


def png(kind: int, bits: int, samples: list[int], key: list[int]) -> bytes:
    """A PNG file, written by hand: a row of 8 pixels four times, and the colour, of its own depth, to see through."""

    def chunk(name: bytes, data: bytes) -> bytes:
        return struct.pack(">I", len(data)) + name + data + struct.pack(">I", zlib.crc32(name + data))

    packed = int("1" + "".join(f"{sample:0{bits}b}" for sample in samples), 2)
    row = b"\0" + packed.to_bytes(len(samples) * bits // 8 + 1, "big")[1:]
    header = struct.pack(">IIBBBBB", 8, 4, bits, kind, 0, 0, 0)
    parts = (b"IHDR", header), (b"tRNS", struct.pack(f">{len(key)}H", *key)), (b"IDAT", zlib.compress(row * 4))
    return b"\x89PNG\r\n\x1a\n" + b"".join(chunk(*part) for part in (*parts, (b"IEND", b"")))


@pytest.mark.parametrize("bits", [1, 2, 4, 8, 16])
def test_a_transparent_grey_is_white_and_its_neighbour_is_not(bits: int) -> None:
    """Of 16 bits, the neighbour differs in the last one only."""
    key, other = (0x1234, 0x1235) if bits == 16 else (0, 1)
    shade = other >> 8 if bits == 16 else 255 * other // (2**bits - 1)
    assert (decode(png(0, bits, [key] * 8, [key])) == 255).all()
    assert (decode(png(0, bits, [other] * 8, [key])) == shade).all()
    brightest = 2**bits - 1
    assert (decode(png(0, bits, [brightest - 1] * 8, [brightest - 1])) == 255).all()


def test_a_transparent_colour_of_8_bits_is_white() -> None:
    assert (decode(png(2, 8, [9, 8, 7] * 8, [9, 8, 7])) == 255).all()
    assert (decode(png(2, 8, [9, 8, 6] * 8, [9, 8, 7])) == (9, 8, 6)).all()


@pytest.mark.parametrize("key", [[0x0102, 0x0304, 0x0506], [0, 0, 5]])
def test_a_transparent_colour_of_16_bits_is_refused(key: list[int]) -> None:
    data = png(2, 16, key * 8, key)
    for make in (decode, lambda data: as_pixels(Image.open(io.BytesIO(data)))):
        with pytest.raises(UndecodableImage, match="save it with 8 bits a sample") as caught:
            make(data)
        assert caught.value.reason == "unsupported"


def entries(*each: tuple[int, int, int, bytes]) -> bytes:
    """An EXIF block, written by hand: (tag, type, count, value) each."""
    body = b"".join(struct.pack(">HHI", *entry[:3]) + entry[3] for entry in sorted(each))
    return b"Exif\0\0MM\0*\0\0\0\x08" + struct.pack(">H", len(each)) + body + b"\0\0\0\0"


@pytest.mark.filterwarnings("ignore::UserWarning")
@pytest.mark.parametrize("kind", ["JPEG", "PNG", "WEBP"])
@pytest.mark.parametrize(
    "exif",
    [
        b"Exif\0\0MM",
        b"Exif\0\0MM\0*\0\0\xff\xff",
        b"Exif\0\0" + bytes(40),
        b"Exif\0\0MM\0*\0\0\0\x08\xff\xff",
        entries((ORIENTATION, 2, 4, b"six\0")),
        entries((ORIENTATION, 5, 1, b"\0\0\xff\xff")),
        entries((ORIENTATION, 3, 1, b"\0\x63\0\0")),
        entries((0x011A, 5, 1, b"\0\0\0\x1a")),
        entries((0x011A, 2, 4, b"abc\0")),
    ],
    ids=range(9),
)
def test_damaged_metadata_is_ignored(kind: str, exif: bytes) -> None:
    image = picture("RGB", (50, 40), 2)
    with_it, without = io.BytesIO(), io.BytesIO()
    image.save(with_it, kind, exif=exif)
    image.save(without, kind)
    np.testing.assert_array_equal(decode(with_it.getvalue()), decode(without.getvalue()))


@pytest.mark.parametrize("kind", ["JPEG", "PNG", "WEBP"])
@pytest.mark.parametrize(("tag", "type_"), [(0x0106, 7), (0x011A, 2), (0x011A, 7)])
def test_an_odd_entry_does_not_keep_an_image_from_being_turned(kind: str, tag: int, type_: int) -> None:
    """A resolution in letters: Pillow cannot write it again ("bad operand type for abs()"), and nobody has to."""
    exif = entries((tag, type_, 4, b"abcd"), (ORIENTATION, 3, 1, b"\0\6\0\0"))
    image = picture("RGB", (50, 40), 2)
    with_it, plainly = io.BytesIO(), io.BytesIO()
    image.save(with_it, kind, exif=exif)
    image.save(plainly, kind, exif=entries((ORIENTATION, 3, 1, b"\0\6\0\0")))
    np.testing.assert_array_equal(decode(with_it.getvalue()), decode(plainly.getvalue()))
    file = io.BytesIO()
    image.save(file, kind)
    assert (decode(with_it.getvalue()) != decode(file.getvalue())).any()
