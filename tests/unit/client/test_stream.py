"""Any number of images through one client: in order or as they come, in bounded memory; bad ones beside good ones."""

from __future__ import annotations

import gc
import itertools
import threading
import time
import tracemalloc
import weakref
from collections.abc import Iterator

import grpc
import numpy as np
import pytest

from alexnet_client import InvalidRequest, Retry, Unavailable
from alexnet_client._images import as_file
from alexnet_client._request import IMAGES_A_REQUEST
from alexnet_client.contract import DEFAULT_MODEL, IMAGE
from alexnet_client.preprocess import decode
from tests.blocking import Make
from tests.fake_triton import FakeTriton, Scripted, outputs
from tests.waiting import PATIENCE, wait_until

PIXELS = "alexnet_int8"
SHADES = [np.full(IMAGE.shape, shade, np.uint8) for shade in range(256)]


def shades(count: int) -> Iterator[np.ndarray]:
    return (SHADES[number % 256] for number in range(count))


@pytest.mark.parametrize("model", [DEFAULT_MODEL, PIXELS])
def test_answers_are_those_of_the_calls(server: FakeTriton, make: Make, model: str) -> None:
    files = [as_file(picture) for picture in SHADES[:100]]
    _, embedding = outputs(np.stack([decode(file) for file in files]))
    with make(server.url, model) as client:
        answers = list(client.stream(iter(files), top_k=1, embed=True))
        assert [answer.predictions for answer in answers] == client.classify(files, top_k=1)
    assert [answer.place for answer in answers] == list(range(100))
    assert [answer.image for answer in answers] == files
    np.testing.assert_array_equal(np.stack([answer.embedding for answer in answers]), embedding)
    assert all(answer.error is None for answer in answers)


def test_only_what_is_asked_for_is_answered(server: FakeTriton, make: Make) -> None:
    with make(server.url, PIXELS) as client:
        (classes,) = client.stream([SHADES[0]], top_k=2)
        (vector,) = client.stream([SHADES[0]], embed=True)
        assert list(client.stream([], embed=True)) == []
        for nothing in (lambda: client.stream([]), lambda: client.stream([], top_k=0)):
            with pytest.raises(InvalidRequest, match="top_k"):
                nothing()
        with pytest.raises(InvalidRequest, match="in_flight is 0"):
            client.stream([], embed=True, in_flight=0)
    assert (len(classes.predictions), classes.embedding) == (2, None)
    assert (vector.predictions, vector.embedding.shape) == (None, (4096,))


@pytest.mark.parametrize("model", [DEFAULT_MODEL, PIXELS])
def test_bad_images_are_answers_that_say_why(server: FakeTriton, make: Make, model: str) -> None:
    """Found here or by the server; the other 62 are answered."""
    images: list = [as_file(picture) for picture in SHADES[:64]]
    images[3], images[17], images[40] = b"no image", images[17][:-30], "no-such.png"
    with make(server.url, model) as client:
        answers = list(client.stream(images, embed=True))
    assert [answer.place for answer in answers] == list(range(64))
    bad = {answer.place: str(answer.error) for answer in answers if answer.error}
    assert list(bad) == [3, 17, 40]
    assert bad[3].startswith("image 3: got 8 bytes")
    assert bad[17].startswith("image 17: got a truncated")
    assert bad[40].startswith("image 40 (no-such.png): ")
    for answer in answers:
        assert (answer.embedding is None) == (answer.place in bad)
        assert answer.embedding is None or answer.embedding[0] == answer.place


def test_answers_come_as_they_are_ready_if_that_is_wanted(server: FakeTriton, make: Make) -> None:
    slow = SHADES[0].tobytes()[:1]

    def first_is_slow(request) -> Scripted:
        return Scripted(seconds=0.5 if request.raw_input_contents[0][:1] == slow else 0)

    images = [SHADES[0]] * IMAGES_A_REQUEST + [SHADES[9]] * 3 * IMAGES_A_REQUEST
    server.script(then=first_is_slow)
    with make(server.url, PIXELS) as client:
        places = [answer.place for answer in client.stream(images, embed=True, ordered=False)]
        assert [answer.place for answer in client.stream(images, embed=True)] == sorted(places)
    assert places[0] >= IMAGES_A_REQUEST
    assert places[-IMAGES_A_REQUEST:] == list(range(IMAGES_A_REQUEST))


def test_as_many_requests_as_told_are_under_way(server: FakeTriton, make: Make) -> None:
    def none_before_six(_: object) -> Scripted:
        wait_until(lambda: server.peak >= 6, "six requests under way")
        return Scripted()

    server.script(then=none_before_six)
    with make(server.url, PIXELS) as client:
        for _ in client.stream(shades(IMAGES_A_REQUEST * 30), embed=True, in_flight=6):
            pass
    assert server.peak == 6


def test_images_are_read_as_answers_are_taken(server: FakeTriton, make: Make) -> None:
    """Of an endless stream a few are read ahead."""
    read = itertools.count()
    with make(server.url, PIXELS) as client:
        answers = client.stream((SHADES[next(read) % 256] for _ in itertools.count()), embed=True, in_flight=2)
        for _ in range(1000):
            answer = next(answers)
        answers.close()
    assert answer.place == 999
    assert next(read) <= 1000 + 5 * IMAGES_A_REQUEST


def test_what_is_held_does_not_grow(server: FakeTriton, make: Make) -> None:
    """Of 385 MB a few requests of 4.8 MB each."""
    images = 80 * IMAGES_A_REQUEST
    with make(server.url, PIXELS) as client:
        tracemalloc.start()
        for _ in client.stream(shades(images), embed=True, in_flight=2):
            server.requests.clear()
        peak = tracemalloc.get_traced_memory()[1]
        tracemalloc.stop()
    assert peak < images * SHADES[0].nbytes / 5


def test_a_failure_ends_it_and_what_came_before_is_good(server: FakeTriton, make: Make) -> None:
    broken = SHADES[200].tobytes()[:1]

    def fails(request) -> Scripted:
        bad = request.raw_input_contents[0][:1] == broken
        return Scripted(grpc.StatusCode.INTERNAL, "broken") if bad else Scripted()

    server.script(then=fails)
    images = [SHADES[1]] * 3 * IMAGES_A_REQUEST + [SHADES[200]] * IMAGES_A_REQUEST + [SHADES[2]] * IMAGES_A_REQUEST
    places = []
    with make(server.url, PIXELS) as client:
        with pytest.raises(Exception, match="broken"):
            places += [answer.place for answer in _noted(client.stream(images, embed=True), places)]
        assert client.embed(SHADES[1]).shape == (1, 4096)
    assert places == list(range(3 * IMAGES_A_REQUEST))


def _noted(answers, places: list[int]):
    for answer in answers:
        places.append(answer.place)
        yield answer


def test_a_server_that_is_away_for_a_moment_loses_and_doubles_nothing(server: FakeTriton, make: Make) -> None:
    away = Scripted(grpc.StatusCode.UNAVAILABLE, "Server is stopping")
    server.script(*[Scripted()] * 3, *[away] * 9)
    with make(server.url, PIXELS, retry=Retry(attempts=12)) as client:
        answers = list(client.stream(shades(20 * IMAGES_A_REQUEST), embed=True))
    assert [answer.place for answer in answers] == list(range(20 * IMAGES_A_REQUEST))
    assert [answer.embedding[0] for answer in answers] == [place % 256 for place in range(20 * IMAGES_A_REQUEST)]


def test_one_that_stays_away_is_an_error(server: FakeTriton, make: Make) -> None:
    with make("127.0.0.1:1", PIXELS) as client, pytest.raises(Unavailable, match="no server answers"):
        list(client.stream(shades(100), embed=True))


def test_whoever_stops_listening_leaves_nothing_running(server: FakeTriton, make: Make) -> None:
    server.script(then=lambda request: Scripted(seconds=30 if request.raw_input_contents[0][0] else 0))
    with make(server.url, PIXELS) as client:
        answers = client.stream(shades(40 * IMAGES_A_REQUEST), embed=True, in_flight=4)
        assert next(answers).place == 0
        started = time.monotonic()
        answers.close()
        assert time.monotonic() - started < 5
        names = [thread.name for thread in threading.enumerate()]
        assert not [name for name in names if name.startswith("alexnet-stream")]


def test_of_a_stream_that_is_left_nothing_more_is_read_encoded_or_asked(server: FakeTriton, make: Make) -> None:
    """An endless one: an image that is being read is the last one of its thread."""
    threads, reads, file = 3, [], as_file(SHADES[0])
    images: list[weakref.ref[File]] = []
    go = threading.Event()

    class File:
        def read(self, _: int) -> bytes:
            reads.append(threading.get_ident())
            go.wait(PATIENCE)
            return file

    def endless() -> Iterator[object]:
        yield from [SHADES[0]] * IMAGES_A_REQUEST + [SHADES[9]] * IMAGES_A_REQUEST
        while True:
            image = File()
            images.append(weakref.ref(image))
            yield image

    def leave() -> None:
        for _ in client.stream(endless(), embed=True, in_flight=threads):
            wait_until(lambda: reads and server.under_way == 1, "one under way, another being read")
            break

    server.script(then=lambda request: Scripted(seconds=PATIENCE if request.raw_input_contents[0][0] else 0))
    with make(server.url, PIXELS) as client:
        leaving = threading.Thread(target=leave)
        leaving.start()
        wait_until(lambda: len(server.requests) == 2 and not server.under_way, "what is under way to be called off")
        taken = len(images)
        go.set()
        leaving.join()
        wait_until(lambda: gc.collect() < 0 or not any(image() for image in images), "the images to be dropped")
        assert client.embed(SHADES[0]).shape == (1, 4096)
    assert len(reads) == len(set(reads)) <= threads
    assert (len(images), len(server.requests)) == (taken, 3)
