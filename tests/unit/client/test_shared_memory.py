"""Pixels through memory that the server maps, too: the same answers, nothing left, and no harm where it cannot be."""

from __future__ import annotations

import tempfile
import threading
import warnings
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import grpc
import numpy as np
import pytest

from alexnet_client import DeadlineExceeded, InvalidRequest, Retry, SharedMemoryWarning, Unavailable, _shared_memory
from alexnet_client._exchange import Deadline, Reply, Send
from alexnet_client._options import Options
from alexnet_client._shared_memory import FOLDER, IMAGE_BYTES, IMAGES, QUARANTINE, SharedMemory
from alexnet_client.contract import IMAGE
from tests.blocking import Make
from tests.fake_triton import FakeTriton, Scripted, outputs

PIXELS = "alexnet_int8"
SOME = np.random.default_rng(0).integers(0, 256, (70, *IMAGE.shape), np.uint8)
LOST = Scripted(grpc.StatusCode.UNAVAILABLE, "Socket closed")


def left(names: Sequence[str]) -> list[str]:
    """Which of the regions have a name in shared memory; there has to be one at least."""
    assert names
    return [name for name in names if (FOLDER / name).exists()]


@pytest.fixture
def server(server: FakeTriton) -> FakeTriton:
    server.regions = {}
    return server


@pytest.fixture
def client(server: FakeTriton, make: Make):
    """That has asked once."""
    with make(server.url, PIXELS, shared_memory=True) as made:
        made.embed(SOME[0])
        yield made


def right(client: Any, images: np.ndarray) -> bool:
    return np.array_equal(client.embed(images), outputs(images)[1])


def through(server: FakeTriton) -> list[int]:
    """Offset of each request's images, in images; -1 of those that came in a message."""
    found = []
    for request in server.requests:
        parameters = request.inputs[0].parameters
        assert bool(request.raw_input_contents) != ("shared_memory_region" in parameters)
        offset = parameters["shared_memory_offset"].int64_param // IMAGE_BYTES
        found.append(-1 if request.raw_input_contents else offset)
    return found


def test_pixels_lie_in_memory_that_is_nobody_elses_and_has_no_name(server: FakeTriton, client: Any) -> None:
    assert right(client, SOME)
    assert through(server)[0] == -1  # beside which the memory was registered
    assert sorted(through(server)[1:]) == [-1, 0, 32]  # 32 + 32 + 6 images, and room for 64
    assert server.modes == [0o600]
    (name,) = server.regions or ()
    assert len(name.removeprefix("alexnet_")) == 32  # 128 bits
    assert not left([name])
    client.close()
    assert server.regions == {}
    client.close()
    assert server.calls["SystemSharedMemoryUnregister"] == 1


def test_pixels_made_here_and_views_of_arrays_go_the_same_way(server: FakeTriton, client: Any) -> None:
    assert right(client, SOME[:1, :, ::-1])
    (answer,) = client.stream([np.zeros((300, 300, 3), np.uint8)], embed=True)
    assert not answer.embedding.any()
    assert through(server)[1:] == [0, 0]


def test_where_it_is_refused_it_is_said_once_and_pixels_travel(server: FakeTriton, make: Make) -> None:
    server.regions = None
    with make(server.url, PIXELS, shared_memory=True) as client:
        with pytest.warns(SharedMemoryWarning, match=r"no shared memory with .*PERMISSION_DENIED: not for clients"):
            assert right(client, SOME[:2])
        with warnings.catch_warnings():
            warnings.simplefilter("error")
            assert right(client, SOME[2:3])
    assert through(server) == [-1, -1]
    assert server.calls["SystemSharedMemoryRegister"] == 1
    assert server.calls["SystemSharedMemoryUnregister"] == 0
    assert not left(server.offered)


def test_where_there_is_no_room_for_it_pixels_travel(server: FakeTriton, make: Make, monkeypatch) -> None:
    monkeypatch.setattr(_shared_memory, "IMAGE_BYTES", 2**56)
    with tempfile.TemporaryDirectory(dir=FOLDER) as folder, make(server.url, PIXELS, shared_memory=True) as client:
        monkeypatch.setattr(_shared_memory, "FOLDER", Path(folder))
        with pytest.warns(SharedMemoryWarning, match="no shared memory with .*(No space left|File too large)"):
            assert right(client, SOME[:1])
        assert right(client, SOME[1:2])
        assert not list(Path(folder).iterdir())
    assert server.calls["SystemSharedMemoryRegister"] == 0


def test_a_server_that_is_silent_for_now_is_asked_again(server: FakeTriton) -> None:
    memory = SharedMemory(Options(server.url, PIXELS, 5, shared_memory=True))
    for reply in (
        Reply(None, "UNAVAILABLE", "Socket closed"),
        Reply(None, "DEADLINE_EXCEEDED", "late"),
        Reply(object()),
    ):
        assert memory.take(SOME[:1]) is None
        assert memory._begins()
        assert not memory._begins()  # one at a time
        steps = memory._register(Deadline(5))
        step = next(steps)
        assert isinstance(step, Send)
        next(steps)
        with pytest.raises(StopIteration):
            steps.send(reply)
        assert not left([step.message.name])
    assert memory.take(SOME[:1]) is not None


def test_a_server_that_began_anew_is_given_new_memory(server: FakeTriton, client: Any) -> None:
    assert right(client, SOME[:2])
    assert server.regions is not None
    server.regions.clear()
    assert right(client, SOME[2:4])  # named, refused, sent in the message
    assert right(client, SOME[4:6])  # beside which there is new memory
    assert right(client, SOME[6:8])
    assert through(server) == [-1, 0, 0, -1, -1, 0]
    assert server.calls["SystemSharedMemoryRegister"] == 2


def test_who_sends_once_is_told_of_a_server_that_began_anew(server: FakeTriton, make: Make) -> None:
    with make(server.url, PIXELS, shared_memory=True, retry=Retry(attempts=1)) as client:
        client.embed(SOME[0])
        server.regions = {}
        with pytest.raises(Unavailable, match="has no shared memory of this client's any more"):
            client.embed(SOME[0])
        assert right(client, SOME[:1])


def test_a_repeated_request_finds_its_pixels_and_what_may_still_be_read_is_left_alone(
    server: FakeTriton, client: Any
) -> None:
    server.script(LOST)
    assert right(client, SOME[:1])
    server.script(Scripted(seconds=30))
    with pytest.raises(DeadlineExceeded):
        client.embed(SOME[1], timeout=0.2)
    server.script(Scripted(grpc.StatusCode.INVALID_ARGUMENT, "no"))
    with pytest.raises(InvalidRequest):
        client.embed(SOME[2])
    assert right(client, SOME[3:4])
    # The first attempt may have reached somebody, the second's caller is gone; the third was refused, and is over.
    assert through(server) == [-1, 0, 0, 1, 2, 2]


def test_models_that_are_sent_files_are_asked_for_their_health_too(client: Any) -> None:
    assert client.health(infer=True).ok


def test_threads_do_not_meet(server: FakeTriton, client: Any) -> None:
    begin = threading.Barrier(8)

    def ask(number: int) -> list[bool]:
        begin.wait()
        return [right(client, SOME[at : at + 1 + at % 3]) for at in range(number, 60, 8)]

    with ThreadPoolExecutor(8) as pool:
        assert all(all(each) for each in pool.map(ask, range(8)))
    assert through(server).count(-1) == 1


def test_room_is_bounded_and_comes_back() -> None:
    now = [0.0]
    memory = registered(lambda: now[0])
    slots = [memory.take(SOME[:1]) for _ in range(IMAGES)]
    assert None not in slots
    assert memory.take(SOME[:1]) is None
    for slot in slots[3:5]:
        slot.release()
        slot.release()
    slots[0].release(doubtful=True)
    assert memory.take(SOME[:3]) is None
    pair = memory.take(SOME[:2])
    assert pair.first == 3
    now[0] = QUARANTINE - 1
    assert memory.take(SOME[:1]) is None
    now[0] = QUARANTINE
    again = memory.take(SOME[:1])
    assert again.first == 0
    del again  # a request that was never sent
    assert memory.take(SOME[:1]).first == 0


@pytest.mark.parametrize(
    ("url", "model", "why"),
    [
        (["127.0.0.1:1", "127.0.0.1:2"], PIXELS, "for one server on this machine"),
        ("dns:///localhost:1", PIXELS, "for one server on this machine"),
        ("10.0.0.1:8001", PIXELS, "for one server on this machine"),
        ("triton:8001", PIXELS, "for one server on this machine"),
        ("localhost:8001", "alexnet", "alexnet is sent files"),
    ],
)
def test_it_is_for_pixels_and_one_server_here(make: Make, url: Any, model: str, why: str) -> None:
    with pytest.raises(InvalidRequest, match=why):
        make(url, model, shared_memory=True)


@pytest.mark.parametrize("url", ["localhost:1", "127.8.0.1:1", "[::1]:1"])
def test_loopback_is_here(url: str) -> None:
    assert Options(url, PIXELS, 5, shared_memory=True).shared_memory


def registered(clock: Callable[[], float]) -> SharedMemory:
    memory = SharedMemory(Options("localhost:1", PIXELS, 5, shared_memory=True), clock)
    steps = memory._register(Deadline(5))
    next(steps), next(steps)
    with pytest.raises(StopIteration):
        steps.send(Reply(object()))
    return memory
