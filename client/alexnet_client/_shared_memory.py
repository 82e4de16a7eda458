"""Pixels to a server on this machine through memory that both map: a message only says where they lie.

A region is a file in ``/dev/shm`` that only this user may open, under a name that nobody can guess, and it loses that
name as soon as the server has mapped it (or will not): the memory ends with the last who maps it, whatever kills whom.
``tritonclient.utils.shared_memory`` stands on ``multiprocessing.shared_memory``, and both promise less: they do not
reserve what they map, so that a full ``/dev/shm`` (64 MB in a container) is a SIGBUS at the first write; they start a
process that keeps track of names; and the former opens what another has made, and is not for threads.

What is saved is the way of 150 kB an image through HTTP/2: of a request of 32 images two thirds of its caller's
processor time, of single images of many callers a fifth, of one caller's nothing. Answers travel in messages: a request
that is given up may be answered later, into memory that is another's by then.
"""

from __future__ import annotations

import math
import mmap
import os
import secrets
import threading
import time
import warnings
import weakref
from collections import deque
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, TypeVar

import numpy as np
from numpy.typing import NDArray
from tritonclient.grpc import service_pb2

from alexnet_client._errors import (
    SHARED_MEMORY_LOST,
    DeadlineExceeded,
    InvalidRequest,
    NotPermitted,
    Overloaded,
    SharedMemoryWarning,
    meaning,
)
from alexnet_client._exchange import Deadline, Reply, Send, Steps, Wait
from alexnet_client._options import Options
from alexnet_client.contract import IMAGE

if TYPE_CHECKING:
    from alexnet_client._request import Request

#: Where Linux keeps what ``shm_open`` opens (shm_overview(7)).
FOLDER = Path("/dev/shm")  # noqa: S108
#: Images that a region has room for, 9.6 MB; what finds none travels in its message.
IMAGES = 64
IMAGE_BYTES = math.prod(IMAGE.shape)
#: Seconds that the place of a request is left alone which the server may still read: its caller has given up.
QUARANTINE = 60.0
#: Seconds that a server has to forget a region when its client is closed.
FAREWELL = 1.0
#: Triton's words while it still has a request that it has answered, and seconds before it is asked again.
IN_USE, FAREWELL_PAUSES = "is currently in use", (0.01, 0.1, 0.5, 0.0)

_T = TypeVar("_T")


class Region:
    """Memory for images side by side."""

    def __init__(self, images: int) -> None:
        """Reserve it.

        Raises:
            OSError: there is no ``/dev/shm``, or no room in it.
        """
        self.name, self.bytes = f"alexnet_{secrets.token_hex(16)}", images * IMAGE_BYTES
        #: An image each: whether its place is taken.
        self.taken = bytearray(images)
        path = FOLDER / self.name
        file = os.open(path, os.O_RDWR | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600)
        #: Take its name away; at the latest when Python exits.
        self.unlink = weakref.finalize(self, path.unlink, missing_ok=True)
        try:
            os.posix_fallocate(file, 0, self.bytes)
            self.pixels = np.frombuffer(mmap.mmap(file, self.bytes), np.uint8).reshape(images, *IMAGE.shape)
        except BaseException:
            self.unlink()
            raise
        finally:
            os.close(file)


class Slot:
    """Where a request's images lie."""

    def __init__(self, memory: SharedMemory, region: Region, first: int, images: int) -> None:
        self.region, self.first, self.images = region, first, images
        self._memory: SharedMemory | None = memory

    @property
    def pixels(self) -> NDArray[np.uint8]:
        """``uint8[N, 224, 224, 3]``, the memory itself."""
        return self.region.pixels[self.first : self.first + self.images]

    def refer(self, tensor: service_pb2.ModelInferRequest.InferInputTensor) -> None:
        """Say of a request's tensor that it lies here (Triton's shared memory extension)."""
        parameters = tensor.parameters
        parameters["shared_memory_region"].string_param = self.region.name
        parameters["shared_memory_byte_size"].int64_param = self.images * IMAGE_BYTES
        parameters["shared_memory_offset"].int64_param = self.first * IMAGE_BYTES

    def release(self, *, doubtful: bool = False) -> None:
        """Give it back; again is harmless.

        Args:
            doubtful: whether the server may still read it.
        """
        memory, self._memory = self._memory, None
        if memory is not None:
            memory.release(self, doubtful=doubtful)

    def __del__(self) -> None:
        """Of a request that was never sent."""
        self.release()


class SharedMemory:
    """A client's: a region at a time, which is registered once something is asked. Any thread's."""

    def __init__(self, options: Options, clock: Callable[[], float] = time.monotonic) -> None:
        self._options, self._clock = options, clock
        #: Taken again by its own thread, when Python clears a slot away that nobody gave back.
        self._lock = threading.RLock()
        #: That the server has mapped.
        self._region: Region | None = None
        #: Whether one is being registered; whether none ever will be again.
        self._registers = self._over = False
        #: Places that may still be read, and until when they are left alone.
        self._doubtful: deque[tuple[float, Slot]] = deque()

    def take(self, images: Sequence[NDArray[np.uint8]]) -> Slot | None:
        """Write images, ``uint8[224, 224, 3]`` each, where the server can read them; None if there is no such room."""
        with self._lock:
            while self._doubtful and self._doubtful[0][0] <= self._clock():
                self._free(self._doubtful.popleft()[1])
            region = self._region
            first = -1 if region is None else region.taken.find(bytes(len(images)))
            if region is None or first < 0:
                return None
            region.taken[first : first + len(images)] = b"\1" * len(images)
        slot = Slot(self, region, first, len(images))
        for place, image in zip(slot.pixels, images, strict=True):
            place[...] = image
        return slot

    def release(self, slot: Slot, *, doubtful: bool) -> None:
        """As :meth:`Slot.release`."""
        with self._lock:
            if doubtful:
                self._doubtful.append((self._clock() + QUARANTINE, slot))
            else:
                self._free(slot)

    def through(self, request: Request, steps: Steps[_T], deadline: Deadline) -> Steps[_T]:
        """Go through a request's steps; beside them a region is registered where there is none.

        Args:
            request: as it was made with this memory.
        """
        if self._begins():
            yield from self._register(deadline)
        return (yield from (steps if request.slot is None else self._watched(request, request.slot, steps)))

    def close(self) -> Send | None:
        """Nothing travels through it any more; what to tell the server, if anything.

        It refuses while it reads what was asked and given up (Triton 2.51), and then keeps the region until it ends.
        """
        with self._lock:
            region, self._region, self._over = self._region, None, True
        if region is None:
            return None
        message = service_pb2.SystemSharedMemoryUnregisterRequest(name=region.name)
        return Send("SystemSharedMemoryUnregister", message, FAREWELL, self._options.call_metadata())

    def _free(self, slot: Slot) -> None:
        slot.region.taken[slot.first : slot.first + slot.images] = bytes(slot.images)

    def _begins(self) -> bool:
        with self._lock:
            begins = self._region is None and not self._registers and not self._over
            self._registers |= begins
            return begins

    def _register(self, deadline: Deadline) -> Steps[None]:
        region = reply = None
        why = ""
        try:
            region = Region(IMAGES)
            message = service_pb2.SystemSharedMemoryRegisterRequest(
                name=region.name, key=f"/{region.name}", byte_size=region.bytes
            )
            yield Send("SystemSharedMemoryRegister", message, deadline.left, self._options.call_metadata())
            reply = yield Wait()
            why = "" if reply is None else _refusal(reply)
        except OSError as error:
            why = str(error)
        finally:
            if region is not None:
                region.unlink()
            with self._lock:
                self._registers = False
                self._over |= bool(why)
                if reply is not None and reply.response is not None and not self._over:
                    self._region = region
        if why:
            warnings.warn(
                f"no shared memory with {self._options.name} ({why}): pixels travel in messages, as without it",
                SharedMemoryWarning,
                stacklevel=2,
            )

    def _watched(self, request: Request, slot: Slot, steps: Steps[_T]) -> Steps[_T]:
        """Whether the server may still read the slot when the steps have ended; and what to do when it has lost it."""
        unsure = 0
        try:
            step = next(steps)
            while True:
                unsure += isinstance(step, Send)
                reply = yield step
                if reply is not None:
                    unsure -= _is_done(reply)
                    if SHARED_MEMORY_LOST in reply.message:
                        with self._lock:
                            self._region = None if self._region is slot.region else self._region
                        request.inline()
                step = steps.send(reply)
        except StopIteration as end:
            value: _T = end.value
            return value
        finally:
            steps.close()
            slot.release(doubtful=unsure > 0)


def _refusal(reply: Reply) -> str:
    """Why the server will never map a region; empty if it has, or may another time."""
    if reply.response is not None:
        return ""
    said = meaning(reply.status, reply.message)
    return "" if said.again or said.kind is DeadlineExceeded else f"{reply.status}: {reply.message}"


def _is_done(reply: Reply) -> bool:
    """Whether the server, and not the way to it, has ended the request."""
    if reply.response is not None:
        return True
    return issubclass(meaning(reply.status, reply.message).kind, (InvalidRequest, NotPermitted, Overloaded))
