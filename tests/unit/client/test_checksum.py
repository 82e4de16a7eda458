"""An answer is believed by whoever it belongs to, and by nobody else."""

from __future__ import annotations

import re
import zlib

import numpy as np
import pytest
from prometheus_client import CollectorRegistry

from alexnet_client import AnswerMismatch, Retry, Unavailable
from alexnet_client.checksum import Expected, checksum, file_checksum
from alexnet_client.contract import CHECKSUM, FILE_CHECKSUM, IMAGE
from alexnet_client.preprocess import decode
from tests.conftest import ROOT
from tests.fake_triton import FakeTriton
from tests.patterns import Patterns
from tests.unit.client.conftest import Make

PIXELS = np.random.default_rng(0).integers(0, 256, (5, *IMAGE.shape), np.uint8)
FILES = [Patterns().file(number) for number in range(5)]


def test_it_is_the_sums_of_cells() -> None:
    """Added up pixel by pixel, in whole numbers."""
    got = checksum(PIXELS)
    assert (got.dtype, got.shape) == (np.float32, (5, *CHECKSUM.shape))
    for row, column in ((0, 0), (1, 3), (3, 2)):
        cell = PIXELS[2, 56 * row : 56 * row + 56, 56 * column : 56 * column + 56]
        assert got[2, row, column].tolist() == [sum(map(int, cell[..., channel].ravel())) for channel in range(3)]


def test_the_largest_sums_are_exact() -> None:
    assert (checksum(np.full((1, *IMAGE.shape), 255, np.uint8)) == 56 * 56 * 255).all()


@pytest.mark.parametrize(
    "change",
    [
        lambda image: image[:, ::-1],
        lambda image: image[::-1],
        lambda image: image[..., ::-1],
        lambda image: np.roll(image, 1, 1),
        lambda image: image ^ np.eye(224, dtype=np.uint8)[..., None],
    ],
    ids=["mirrored", "upside down", "blue for red", "shifted", "single pixels"],
)
def test_a_similar_image_has_another(change) -> None:
    assert not np.array_equal(checksum(PIXELS[:1]), checksum(change(PIXELS[0])[None]))


def test_a_file_has_its_crc_and_its_pixels_sums() -> None:
    pixels = np.stack([decode(file) for file in FILES])
    got = file_checksum(FILES, pixels)
    assert (got.dtype, got.shape) == (np.uint32, (5, *FILE_CHECKSUM.shape))
    assert got[:, 0].tolist() == [zlib.crc32(file) for file in FILES]
    assert np.array_equal(got[:, 1:], checksum(pixels).reshape(5, -1))


def test_a_file_is_believed_if_both_steps_had_it() -> None:
    pixels = np.stack([decode(file) for file in FILES])
    expected = Expected.of_files(FILES)
    right, sums = file_checksum(FILES, pixels), checksum(pixels)
    assert expected.met_by(sums, right)
    order = [1, 0, 2, 3, 4]
    assert not expected.met_by(sums, right[order])  # other files were decoded
    assert not expected.met_by(sums[order], right)  # the network was given others


@pytest.mark.parametrize(
    ("model", "images"), [("alexnet_int8", list(PIXELS)), ("alexnet", FILES)], ids=["pixels", "files"]
)
def test_the_answer_to_the_request_before_is_never_believed(make: Make, model: str, images: list) -> None:
    """By classes, by vectors, in a stream; of one image, and of several."""
    registry = CollectorRegistry()
    with FakeTriton() as server, make(server.url, model, retry=Retry(attempts=1), registry=registry) as client:
        client.embed(images[0])
        server.late = True
        asked = 0
        for _ in range(4):
            for image in images[1:]:
                for ask in (client.embed, client.classify, client.infer):
                    asked += 1
                    with pytest.raises(AnswerMismatch):
                        ask([image] if asked % 2 else [image, images[0]])
        with pytest.raises(AnswerMismatch):
            list(client.stream(images[1:], embed=True))
        server.late = False
        assert len(client.embed(images)) == len(images)
        wrong = registry.get_sample_value(
            "alexnet_client_requests_total", {"model": model, "outcome": AnswerMismatch.__name__}
        )
        assert wrong == asked + 1


def test_it_is_asked_for_again_and_counted(make: Make) -> None:
    registry = CollectorRegistry()
    with FakeTriton() as server, make(server.url, "alexnet_int8", registry=registry) as client:
        right = client.embed(PIXELS[:1])
        client.embed(PIXELS[1])
        server.late = True
        assert np.array_equal(client.embed(PIXELS[0]), right)  # the second attempt is given the answer to the first
    labels = {"model": "alexnet_int8", "why": AnswerMismatch.__name__}
    assert registry.get_sample_value("alexnet_client_retries_total", labels) == 1
    assert issubclass(AnswerMismatch, Unavailable)


def test_shared_memory_changes_nothing(make: Make) -> None:
    with FakeTriton() as server:
        server.regions = {}
        with make(server.url, "alexnet_int8", retry=Retry(attempts=1), shared_memory=True) as client:
            for image in PIXELS[:3]:
                assert client.embed(image).shape == (1, 4096)
            server.late = True
            with pytest.raises(AnswerMismatch):
                client.embed(PIXELS[4])


@pytest.mark.parametrize("files", [[], FILES], ids=["pixels", "files"])
def test_what_other_clients_are_told_to_compare_tells_them(files: list[bytes]) -> None:
    (example,) = re.findall(r"```python\n(.*?)```", (ROOT / "SECURITY.md").read_text(), re.DOTALL)
    pixels = np.stack([decode(file) for file in files]) if files else PIXELS
    answer = {"checksum": checksum(pixels), "file_checksum": file_checksum(files, pixels) if files else None}
    given = {"np": np, "zlib": zlib, "files": files, "pixels": pixels}
    exec(example, {**given, **answer})
    for name in filter(lambda name: answer[name] is not None, answer):
        with pytest.raises(AssertionError):
            exec(example, {**given, **answer, name: answer[name][::-1]})
