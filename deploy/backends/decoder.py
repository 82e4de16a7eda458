"""A process that decodes one image after the other, with bounded means; ``python -m deploy.backends.decoder SOCKET``.

What it takes it has from strangers, so what it gives is read as bytes and JSON and nothing else.
"""

from __future__ import annotations

import ctypes
import json
import os
import resource
import shutil
import signal
import subprocess
import sys
import threading
from contextlib import suppress
from multiprocessing.connection import Connection, Pipe

import numpy as np
import psutil

from alexnet_client.contract import IMAGE, MAX_DECODE_SECONDS
from alexnet_client.undecodable import UndecodableImage
from deploy.backends.decoded import Decoded, timed_decode

#: Of a core, for one image; an estimate may be wrong by so much.
CPU_SECONDS = 3 * int(MAX_DECODE_SECONDS)
#: Of the clock, for a process that does not even run.
WALL_SECONDS = 120.0
#: Beside what a process has when it starts. 50 million pixels with transparency take 0.8 GiB.
MEMORY_BYTES = 3 * 2**29
#: A process of this niceness gets a tenth of a core that others want.
NICENESS = 10


class Decoder:
    """The process, as its owner has it: started with the first image, and again when it has ended."""

    def __init__(self) -> None:
        """Start nothing yet."""
        self._process: subprocess.Popen[bytes] | None = None
        self._connection: Connection | None = None

    @property
    def pid(self) -> int | None:
        """Its process id; None while there is none."""
        return self._process.pid if self._process else None

    def decode(self, file: bytes) -> Decoded:
        """Decode one image; one that takes more than it may is refused."""
        if self._connection is None:
            self._start()
        assert self._connection is not None
        assert self._process is not None
        watch = threading.Timer(WALL_SECONDS, self._process.kill)
        watch.start()
        try:
            self._connection.send_bytes(file)
            said = json.loads(self._connection.recv_bytes())
            if said["reason"] is not None:
                return Decoded(None, UndecodableImage(said["reason"], said["message"]), said["seconds"])
            pixels = np.frombuffer(self._connection.recv_bytes(), np.uint8).reshape(IMAGE.shape)
            return Decoded(pixels, None, said["seconds"])
        except (EOFError, OSError):
            self.end()
            message = f"got an image that is not decoded after {CPU_SECONDS} s of a core: save it anew, smaller"
            return Decoded(None, UndecodableImage("too_much_work", message), float(CPU_SECONDS))
        finally:
            watch.cancel()

    def end(self) -> None:
        """End it. Again is harmless."""
        if self._connection is not None:
            self._connection.close()
            self._connection = None
        if self._process is not None:
            self._process.kill()
            self._process.wait()
            self._process = None

    def _start(self) -> None:
        self._connection, theirs = Pipe()
        # In Triton's process sys.executable is Triton's; it has its Python from PATH.
        python = shutil.which("python3") or sys.executable
        self._process = subprocess.Popen(
            [python, "-m", __name__, str(theirs.fileno()), str(os.getpid())], pass_fds=[theirs.fileno()]
        )
        theirs.close()


def _confine(parent: int) -> None:
    """Bound what this process may do, and have it end with its parent."""
    ctypes.CDLL(None).prctl(1, signal.SIGKILL)  # PR_SET_PDEATHSIG
    if os.getppid() != parent:
        sys.exit(1)
    os.nice(NICENESS)
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    memory = psutil.Process().memory_info().vms + MEMORY_BYTES
    resource.setrlimit(resource.RLIMIT_AS, (memory, memory))


def _allow_seconds() -> None:
    """So much more of a core; then the kernel ends this process."""
    spent = resource.getrusage(resource.RUSAGE_SELF)
    limit = int(spent.ru_utime + spent.ru_stime) + CPU_SECONDS
    resource.setrlimit(resource.RLIMIT_CPU, (limit, resource.RLIM_INFINITY))


def main(arguments: list[str] | None = None) -> int:
    """Decode what comes until nothing does."""
    handle, parent = map(int, sys.argv[1:] if arguments is None else arguments)
    _confine(parent)
    with Connection(handle) as connection, suppress(EOFError):
        while True:
            file = connection.recv_bytes()
            _allow_seconds()
            pixels, error, seconds = timed_decode(file)
            reason, message = (error.reason, str(error)) if error else (None, None)
            connection.send_bytes(json.dumps({"reason": reason, "message": message, "seconds": seconds}).encode())
            if pixels is not None:
                connection.send_bytes(pixels.tobytes())
    return 0


if __name__ == "__main__":
    sys.exit(main())
