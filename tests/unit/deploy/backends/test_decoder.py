"""The process for large images: right answers, and bounds that the kernel keeps."""

from __future__ import annotations

import io
import os
import signal
import subprocess
import sys
import threading
from collections.abc import Iterator

import numpy as np
import psutil
import pytest
from PIL import Image

from alexnet_client.preprocess import decode
from deploy.backends.decoder import NICENESS, Decoder
from tests.conftest import ROOT
from tests.waiting import PATIENCE, wait_until


def png(side: int) -> bytes:
    file = io.BytesIO()
    Image.effect_noise((64, 64), 50).resize((side, side)).save(file, "PNG", compress_level=1)
    return file.getvalue()


@pytest.fixture
def decoder() -> Iterator[Decoder]:
    decoder = Decoder()
    yield decoder
    decoder.end()


def test_it_answers_as_the_library_does_one_after_the_other(decoder: Decoder) -> None:
    for file in (png(50), png(300)):
        pixels, error, seconds = decoder.decode(file)
        assert error is None
        assert seconds > 0
        np.testing.assert_array_equal(pixels, decode(file))
    result = decoder.decode(b"no image")
    assert result.error.reason == "unknown_format"
    assert "that are no JPEG" in str(result.error)
    assert psutil.Process(decoder.pid).nice() == NICENESS


def test_one_that_hangs_is_ended_be_it_before_it_has_all_of_the_file(decoder: Decoder, monkeypatch) -> None:
    decoder.decode(png(50))
    monkeypatch.setattr("deploy.backends.decoder.WALL_SECONDS", 0.2)
    for file in (png(50), bytes(10**7)):  # the second does not fit into the socket
        hung = decoder.pid
        os.kill(hung, signal.SIGSTOP)
        assert decoder.decode(file).error.reason == "too_much_work"
        assert not psutil.pid_exists(hung)
        monkeypatch.undo()
        decoder.decode(png(50))
        monkeypatch.setattr("deploy.backends.decoder.WALL_SECONDS", 0.2)


def test_one_that_ends_has_its_image_refused_and_the_next_one_is_decoded(decoder: Decoder) -> None:
    decoder.decode(png(50))
    os.kill(decoder.pid, signal.SIGSTOP)
    killer = threading.Timer(0.1, os.kill, (decoder.pid, signal.SIGKILL))
    killer.start()
    result = decoder.decode(png(50))
    killer.join()
    assert (result.pixels, result.error.reason) == (None, "too_much_work")
    assert decoder.decode(png(50)).error is None


def test_it_ends_with_its_owner() -> None:
    program = (
        "from deploy.backends.decoder import Decoder; d = Decoder(); d.decode(b''); print(d.pid, flush=True); input()"
    )
    owner = subprocess.Popen(
        [sys.executable, "-c", program], cwd=ROOT, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    )
    with owner:
        process = int(owner.stdout.readline())
        owner.kill()
    wait_until(lambda: not psutil.pid_exists(process), "its end")


@pytest.mark.parametrize(
    ("greed", "ending"),
    [
        ("decoder.CPU_SECONDS = 1; decoder._allow_seconds()\nwhile True: pass", -signal.SIGXCPU),
        ("decoder._confine(os.getppid()); bytearray(2 * decoder.MEMORY_BYTES)", 1),
        ("decoder._confine(1)", 1),
    ],
    ids=["seconds", "memory", "orphan"],
)
def test_what_takes_too_much_is_ended(greed: str, ending: int) -> None:
    program = f"import os\nfrom deploy.backends import decoder\n{greed}"
    done = subprocess.run([sys.executable, "-c", program], cwd=ROOT, capture_output=True, timeout=PATIENCE, check=False)
    assert done.returncode == ending, done.stderr
