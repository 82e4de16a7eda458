"""How much work an image file makes, read from its container alone: no pixel is decoded, and no loop is long.

A file of some hundred bytes can ask for seconds of a core, and one of 300 kB for minutes: pixels, a JPEG's scans, and
the parts that Pillow's parsers walk through one by one are all free to write down. Formats: JPEG, ITU T.81 annex B;
PNG, W3C third edition; GIF89a; WebP, RFC 9649.
"""

from __future__ import annotations

import struct
from collections.abc import Callable

from alexnet_client.contract import MAX_DECODE_SECONDS, MAX_PIXELS, MAX_SIDE
from alexnet_client.undecodable import UndecodableImage

#: Segments, chunks or blocks of a file, bytes of junk between them included. An ICC profile takes 255 at most, a PNG of
#: 20 MB in pieces of 8 kB 2,560.
MAX_PARTS = 10_000
#: Seconds of one core, Zen 3 at 3 GHz, measured with Pillow 13: a pixel (of a JPEG, a pixel and scan) and a byte.
JPEG, PNG, GIF, WEBP = (1e-9, 15e-9), (12e-9, 12e-9), (12e-9, 17e-9), (25e-9, 150e-9)
#: Any image: to resize it, to hand it on.
EACH = 1.5e-3
#: A byte of a JPEG that is coded arithmetically.
ARITHMETIC = 150e-9
#: Text and profiles that are compressed, each up to Pillow's limit of a megabyte.
COMPRESSED_TEXT = 5e-3
#: JPEG's markers without a length: padding, TEM, RST0 to RST7, SOI, EOI, at which Pillow's parser does not end.
BARE = (0x00, 0x01, *range(0xD0, 0xDA))
#: Its start-of-frame markers; DHT, JPG and DAC lie between.
FRAMES = tuple(marker for marker in range(0xC0, 0xD0) if marker not in (0xC4, 0xC8, 0xCC))
START_OF_SCAN, FIRST_ARITHMETIC = 0xDA, 0xC9


def seconds(data: bytes) -> float:
    """Seconds of one core that decoding a file takes, roughly; next to none for no image, or one that ends too soon.

    Raises:
        UndecodableImage: it takes more than ``MAX_DECODE_SECONDS``, one side is longer than ``MAX_SIDE``, or it is in
            more than ``MAX_PARTS`` parts.
    """
    for start, walk in WALKS.items():
        if data.startswith(start):
            try:
                needed = EACH + walk(data)
            except (struct.error, IndexError):  # it ends too soon, as its decoder will say
                return EACH
            if needed > MAX_DECODE_SECONDS:
                raise UndecodableImage(
                    "too_much_work",
                    f"got an image that takes {needed:.3g} s to decode, at most {MAX_DECODE_SECONDS:g} are accepted: "
                    "save it anew, smaller or as a JPEG that is not progressive",
                )
            return needed
    return EACH


def check_pixels(width: int, height: int) -> int:
    """How many pixels an image has.

    Raises:
        UndecodableImage: more than ``MAX_PIXELS``, or than ``MAX_SIDE`` on one side.
    """
    size = f"got an image of {width:,} x {height:,} pixels"
    if width * height > MAX_PIXELS:
        raise UndecodableImage("too_many_pixels", f"{size}, at most {MAX_PIXELS:,} are accepted: shrink it first")
    if max(width, height) > MAX_SIDE:
        raise UndecodableImage("too_many_pixels", f"{size}, a side has at most {MAX_SIDE:,}: crop it first")
    return width * height


def _jpeg(data: bytes) -> float:
    width = height = 0
    a_byte = JPEG[1]
    position, parts = 2, 0
    while True:
        start = data.index(b"\xff", position) if b"\xff" in data[position : position + MAX_PARTS] else len(data)
        parts += 1 + start - position
        _check_parts(parts)
        marker = data[start + 1]
        position = start + (1 if marker == 0xFF else 2)
        if marker == START_OF_SCAN:
            break
        if marker == 0xFF or marker in BARE:
            continue
        (length,) = struct.unpack_from(">H", data, position)
        if marker in FRAMES:
            height, width = struct.unpack_from(">HH", data, position + 3)
            a_byte = ARITHMETIC if marker >= FIRST_ARITHMETIC else a_byte
        position += max(2, length)
    # In coded data this pair of bytes is a marker: a byte of all ones is followed by 0.
    scans = data.count(bytes((0xFF, START_OF_SCAN)), start)
    return scans * check_pixels(width, height) * JPEG[0] + len(data) * a_byte


def _png(data: bytes) -> float:
    pixels, extra = 0, 0.0
    position, parts = 8, 0
    while position + 8 <= len(data):
        length, kind = struct.unpack_from(">I4s", data, position)
        parts += 1
        _check_parts(parts)
        if kind == b"IEND":
            break
        if kind == b"IHDR":  # the first chunk, by the standard; Pillow takes it wherever it is
            pixels = max(pixels, check_pixels(*struct.unpack_from(">II", data, position + 8)))
        extra += COMPRESSED_TEXT if kind in (b"zTXt", b"iTXt", b"iCCP") else 0.0
        position += 12 + length
    return pixels * PNG[0] + len(data) * PNG[1] + extra


def _gif(data: bytes) -> float:
    width, height = struct.unpack_from("<HH", data, 6)
    position, parts = 13 + _palette(data[10]), 0
    while data[position] != 0x2C:  # the first picture
        parts += 1
        _check_parts(parts)
        if data[position] == 0x21:  # an extension in blocks
            position += 2
            while size := data[position]:
                parts += 1
                _check_parts(parts)
                position += 1 + size
        position += 1
    left, top, its_width, its_height = struct.unpack_from("<HHHH", data, position + 1)
    pixels = check_pixels(max(width, left + its_width), max(height, top + its_height))
    return pixels * GIF[0] + len(data) * GIF[1]


def _palette(flags: int) -> int:
    return 3 << (flags & 7) + 1 if flags & 0x80 else 0


def _webp(data: bytes) -> float:
    kind = data[12:16]
    if kind == b"VP8X":
        width, height = (1 + int.from_bytes(data[at : at + 3], "little") for at in (24, 27))
    elif kind == b"VP8L":
        (bits,) = struct.unpack_from("<I", data, 21)
        width, height = 1 + (bits & 0x3FFF), 1 + (bits >> 14 & 0x3FFF)
    else:
        width, height = (side & 0x3FFF for side in struct.unpack_from("<HH", data, 26))
    return check_pixels(width, height) * WEBP[0] + len(data) * WEBP[1]


def _check_parts(parts: int) -> None:
    if parts > MAX_PARTS:
        message = f"got an image file of more than {MAX_PARTS:,} parts: save it anew, with nothing but pixels"
        raise UndecodableImage("too_much_work", message)


WALKS: dict[bytes, Callable[[bytes], float]] = {
    b"\xff\xd8": _jpeg,
    b"\x89PNG\r\n\x1a\n": _png,
    b"GIF8": _gif,
    b"RIFF": _webp,
}
