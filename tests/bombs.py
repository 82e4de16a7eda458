"""Image files that are cheap to send and dear to decode."""

from __future__ import annotations

import io
import struct
import zlib

from PIL import Image


def encoded(size: tuple[int, int], kind: str, **options: object) -> bytes:
    """A picture of one colour."""
    file = io.BytesIO()
    Image.new("RGB", size).save(file, kind, **options)
    return file.getvalue()


def chunk(kind: bytes, data: bytes = b"") -> bytes:
    """A chunk of a PNG."""
    return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))


def png(width: int, height: int, extra: bytes = b"", before: bytes = b"") -> bytes:
    """A PNG whose pixels are missing."""
    header = chunk(b"IHDR", struct.pack(">IIBBBBB", width, height, 8, 2, 0, 0, 0))
    return b"\x89PNG\r\n\x1a\n" + before + header + extra + chunk(b"IDAT") + chunk(b"IEND")


def scans(size: tuple[int, int], count: int) -> bytes:
    """A progressive JPEG whose last scan is there so many times more."""
    file = encoded(size, "JPEG", progressive=True)
    last = file.rindex(b"\xff\xda")
    return file[:-2] + file[last:-2] * count + file[-2:]


JPEG = encoded((8, 8), "JPEG")
#: Name -> file, why it is refused.
BOMBS = {
    "scans": (scans((3000, 3000), 2000), "too_much_work"),
    "JPEG segments": (JPEG[:2] + b"\xff\xfe\x00\x02" * 20_000 + JPEG[2:], "too_much_work"),
    "JPEG padding": (JPEG[:2] + b"\xff" * 2_000_000 + JPEG[2:], "too_much_work"),
    "JPEG segments after its end": (b"\xff\xd8\xff\xd9" + b"\xff\xfe\x00\x02" * 20_000 + JPEG[2:], "too_much_work"),
    "JPEG junk": (JPEG[:2] + b"\x01" * 2_000_000 + JPEG[2:], "too_much_work"),
    "narrow PNG": (png(1, 50_000_000), "too_many_pixels"),
    "PNG whose header is not the first": (png(1, 50_000_000, before=chunk(b"tEXt", bytes(13))), "too_many_pixels"),
    "PNG chunks": (png(10, 10, chunk(b"teXt") * 1_000_000), "too_much_work"),
    "PNG texts": (png(10, 10, chunk(b"zTXt", b"a\0\0" + zlib.compress(bytes(2**20))) * 2000), "too_much_work"),
    "GIF blocks": (b"GIF89a\x01\0\x01\0\0\0\0\x21\xfe" + b"\x01a" * 2_000_000 + b"\0,", "too_much_work"),
    "GIF junk": (b"GIF89a\x01\0\x01\0\0\0\0" + b"\x01" * 2_000_000 + b",", "too_much_work"),
}
