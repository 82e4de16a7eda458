"""One look at every file of a split: which ones are no images, and the hash of all others."""

from __future__ import annotations

import contextlib
import hashlib
import json
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import NamedTuple

from tqdm import tqdm

from alexnet_client.files import atomic_path, file_errors, sha256_of
from alexnet_client.preprocess import decode
from alexnet_client.undecodable import UndecodableImage

#: Seconds between two times that a file system tells apart (a kernel's tick is 1 to 10 ms).
TICK = 0.02


class Scan(NamedTuple):
    """What a scan found."""

    #: Path below the split -> why it is no image, or could not be read.
    unusable: dict[str, str]
    #: Of the names and contents of all other files.
    sha256: str


def scan(root: Path, files: list[Path], kept: Path) -> Scan:
    """Decode and hash every file below ``root``, or take what was found the last time when no file has changed since.

    It is kept in the file ``kept``, except when a file could not be read: that may pass.

    Raises:
        alexnet_client.errors.FileError: a file is gone.
    """
    fingerprint = _fingerprint(root, files)
    try:
        known = json.loads(kept.read_text())
        if known["fingerprint"] == fingerprint:
            return Scan(known["unusable"], known["sha256"])
    except (OSError, ValueError, KeyError):
        pass
    unusable, passing, total = {}, False, hashlib.sha256()
    with ThreadPoolExecutor() as pool:
        title = f"scan {kept.name.removeprefix('.').removesuffix('.scan.json')}"
        looks = tqdm(pool.map(_look, files), title, len(files), unit="image")
        for name, look in zip((str(path.relative_to(root)) for path in files), looks, strict=True):
            if look.problem:
                unusable[name] = look.problem
            else:
                total.update(f"{name}\0{look.sha256}\n".encode())
            passing |= not look.sha256
    found = Scan(unusable, total.hexdigest())
    if not passing and _fingerprint(root, files) == fingerprint:
        with contextlib.suppress(OSError), atomic_path(kept) as partial:  # data mounted read-only: scanned every time
            partial.write_text(json.dumps({"fingerprint": fingerprint, **found._asdict()}))
    return found


class _Look(NamedTuple):
    #: Empty when the file could not be read.
    sha256: str
    problem: str | None


def _look(path: Path) -> _Look:
    try:
        data = path.read_bytes()
    except OSError as error:
        return _Look("", str(error))
    try:
        decode(data)
    except UndecodableImage as error:
        return _Look(sha256_of(data), str(error))
    return _Look(sha256_of(data), None)


def _fingerprint(root: Path, files: list[Path]) -> str:
    """Changes when a file does, without reading any.

    ``cp -p``, ``mv`` and ``touch`` keep or set a file's size and modification time. None can set the time of its last
    change of any kind (``st_ctime``), and another file has another inode.
    """
    total, newest = hashlib.sha256(), 0
    for path in files:
        with file_errors(path):
            status = path.stat()
        identity = (status.st_size, status.st_mtime_ns, status.st_ctime_ns, status.st_ino)
        total.update(f"{path.relative_to(root)}\0{identity}\n".encode())
        newest = max(newest, status.st_ctime_ns)
    # A change within the same tick would have the same time: let it pass before the files are read.
    time.sleep(min(max(newest / 1e9 + TICK - time.time(), 0), TICK))
    return total.hexdigest()
