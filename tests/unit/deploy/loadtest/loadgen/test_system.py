"""Every sample that LoadGen asks for is sent as a client would, and told of once, whatever becomes of it."""

from __future__ import annotations

import threading
from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path
from typing import NamedTuple

import grpc
import numpy as np
import pytest
from numpy.typing import NDArray

from alexnet_client import TLS, AlexNetClient
from alexnet_client._options import Options
from deploy.loadtest.loadgen.samples import LOADED, SampleLibrary, Split
from deploy.loadtest.loadgen.system import SystemUnderTest
from tests.certificates import Certificates
from tests.fake_triton import FakeTriton, Scripted
from tests.patterns import Patterns
from tests.waiting import wait_until


class Sample(NamedTuple):
    """As LoadGen's ``QuerySample``."""

    id: int
    index: int


class Heard:
    """What LoadGen is told: id -> class, -1 for none."""

    def __init__(self) -> None:
        self.classes: dict[int, int] = {}
        self.told = 0

    def __call__(self, ids: Sequence[int], classes: NDArray[np.int32] | None) -> None:
        self.classes.update(zip(ids, [-1] * len(ids) if classes is None else map(int, classes), strict=True))
        self.told += len(ids)


def system(
    server: FakeTriton, model: str, images: object, heard: Callable, tls: TLS | None = None, **options: object
) -> SystemUnderTest:
    library = SampleLibrary(images)
    library.load(range(library.total))
    asked = Options(server.url, model, timeout=None, tls=tls)
    return SystemUnderTest(asked, library, heard, **{"classes": True, "in_flight": 1000, **options})


@pytest.mark.parametrize("model", ["alexnet", "alexnet_int8"])
def test_every_sample_gets_the_class_that_the_client_would_get(model: str, images: Patterns) -> None:
    split, heard = Split(images, model), Heard()
    query = [Sample(id=1000 + index, index=index) for index in (5, 3, 3, *range(len(images)))]
    with FakeTriton() as server, system(server, model, split, heard) as sut, AlexNetClient(server.url, model) as client:
        sut.issue(query)
        wait_until(lambda: heard.told == len(query), "all samples to be told")
        right = client.infer([split[index] for index in range(len(split))]).probabilities.argmax(1)
    assert heard.classes == {sample.id: right[sample.index] for sample in query}
    assert len(set(heard.classes.values())) > 1  # or nothing is compared
    assert sut.versions == {"1"}
    assert not sut.failures


def test_a_server_that_speaks_tls_is_asked_with_a_certificate_and_a_token(images: Patterns, tmp_path: Path) -> None:
    certificates, heard = Certificates(tmp_path), Heard()
    tls = replace(certificates.mutual, token="let me in")
    with (
        FakeTriton(credentials=certificates.server(ask_for_clients=True)) as server,
        system(server, "alexnet_int8", Split(images, "alexnet_int8"), heard, tls) as sut,
    ):
        sut.issue([Sample(0, 0)])
        wait_until(lambda: heard.told == 1, "the sample to be told")
        assert server.metadata[-1]["authorization"] == "Bearer let me in"
    assert not sut.failures


def test_a_query_travels_as_few_requests_and_one_sample_as_one(images: Patterns) -> None:
    heard = Heard()
    with FakeTriton() as server, system(server, "alexnet_int8", Split(images, "alexnet_int8"), heard) as sut:
        sut.issue([Sample(index, index) for index in range(40)])
        sut.issue([Sample(40, 0)])
        wait_until(lambda: heard.told == 41, "all samples to be told")
        sizes = sorted(int(request.inputs[0].shape[0]) for request in server.requests)
    assert sizes == [1, 8, 32]


def test_a_large_query_is_paced(images: Patterns) -> None:
    heard = Heard()
    with (
        FakeTriton() as server,
        system(server, "alexnet_int8", Split(images, "alexnet_int8"), heard, in_flight=2) as sut,
    ):
        server.script(then=Scripted(seconds=0.02))
        sut.issue([Sample(number, number % 40) for number in range(8 * 32)])
        wait_until(lambda: heard.told == 8 * 32, "all samples to be told")
        assert server.peak == 2


def test_what_fails_is_told_all_the_same_and_counted() -> None:
    """LoadGen waits for ever for a sample that nobody tells it of, and takes a refusal for a quick answer."""
    heard = Heard()
    pixels = np.zeros((224, 224, 3), np.uint8)
    with FakeTriton() as server, system(server, "alexnet_int8", [pixels, b"no image"], heard) as sut:
        server.script(Scripted(grpc.StatusCode.UNAVAILABLE, "too much to do"))
        sut.issue([Sample(7, 0)])
        wait_until(lambda: heard.told == 1, "all samples to be told")
        sut.issue([Sample(8, 0), Sample(9, 1)])
        wait_until(lambda: heard.told == 3, "all samples to be told")
    assert heard.classes == {7: -1, 8: 0, 9: -1}
    assert sorted(sut.failures.values()) == [1, 1]
    assert any(why == "UNAVAILABLE: too much to do" for why in sut.failures)
    assert any(why.startswith("InvalidImage") for why in sut.failures)


def test_the_issuing_thread_does_not_wait_for_answers(images: Patterns) -> None:
    heard, held = Heard(), threading.Event()
    with FakeTriton() as server, system(server, "alexnet_int8", Split(images, "alexnet_int8"), heard) as sut:
        server.script(then=lambda _: (held.wait(10) and Scripted()) or Scripted())
        for number in range(20):
            sut.issue([Sample(number, number)])
        assert heard.told == 0
        held.set()
        wait_until(lambda: heard.told == 20, "all samples to be told")


def test_samples_are_read_when_they_are_loaded_and_forgotten(images: Patterns) -> None:
    library = SampleLibrary(Split(images, "alexnet_int8"))
    assert (library.total, library.fitting) == (len(images), len(images))
    assert SampleLibrary([b""] * 1000).fitting == LOADED
    library.load([4, 2])
    assert (library[4] == images[4][0]).all()
    library.unload([4])
    with pytest.raises(KeyError):
        library[4]
    assert (library[2] == images[2][0]).all()
