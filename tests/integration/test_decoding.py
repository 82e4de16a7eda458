"""Image files through the served decoder: the good ones are right, the bad ones fail alone."""

from __future__ import annotations

import io
import threading
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest
from PIL import ExifTags, Image
from tritonclient.grpc import InferenceServerClient, InferInput
from tritonclient.utils import InferenceServerException

from alexnet_client import AlexNetClient, InvalidImage, contract
from alexnet_client.preprocess import decode
from deploy.loadtest.hostile import large_image
from deploy.serve.server import LocalServer
from tests import bombs
from tests.conftest import Built
from tests.waiting import PATIENCE
from training.data.open import open_split


def png(size=(60, 40), mode="RGB", **options) -> bytes:
    file = io.BytesIO()
    Image.new(mode, size, **options).save(file, "PNG")
    return file.getvalue()


def jpeg() -> bytes:
    file = io.BytesIO()
    noise = np.random.default_rng(0).integers(0, 255, (300, 400, 3), np.uint8)
    Image.fromarray(noise).save(file, "JPEG")
    return file.getvalue()


BAD = {
    "empty": (b"", "empty image"),
    "text": (b"this is no image", "no JPEG, PNG, WEBP or GIF file"),
    "truncated jpeg": (jpeg()[:4000], "truncated or corrupt"),
    "truncated png": (png()[:60], "truncated or corrupt"),
    "pixels": (bombs.png(40_000, 40_000), "at most 50,000,000 are accepted"),
    "scans": (bombs.BOMBS["scans"][0], "s to decode, at most 5 are accepted"),
}


@pytest.mark.parametrize("name", BAD)
def test_a_bad_image_is_refused_and_its_batch_mates_are_answered(server: LocalServer, built: Built, name: str) -> None:
    """Sixteen requests at once, one of them bad, again and again: they share dynamic batches."""
    images = open_split(built.data, "test")
    data, message = BAD[name]
    with AlexNetClient(server.grpc_url, "alexnet") as client:
        alone = [client.embed(images.file(i))[0] for i in range(15)]

        def ask(number: int):
            if number == 7:
                with pytest.raises(InvalidImage, match=message) as caught:
                    client.embed(data)
                return caught.value.index
            return client.embed(images.file(number - (number > 7)))[0]

        with ThreadPoolExecutor(16) as pool:
            answers = list(pool.map(ask, range(16)))
    assert answers.pop(7) == 0
    for got, wanted in zip(answers, alone, strict=True):
        np.testing.assert_allclose(got, wanted, atol=1e-4)


def test_the_bad_ones_among_many_are_named(server: LocalServer, built: Built) -> None:
    images = open_split(built.data, "test")
    files = [images.file(i) for i in range(64)]
    files[35], files[40] = b"no image", files[40][:100]
    with (
        AlexNetClient(server.grpc_url, "alexnet") as client,
        pytest.raises(InvalidImage, match="image 35: got 8 bytes .*; image 40: got a truncated") as caught,
    ):
        client.classify(files)
    assert list(caught.value.images) == [35, 40]


def ask_as_it_is(server: LocalServer, files: list[bytes]) -> np.ndarray:
    """Without what our client does for large images."""
    with InferenceServerClient(server.grpc_url) as client:
        tensor = InferInput("encoded", [len(files), 1], "BYTES")
        tensor.set_data_from_numpy(np.array(files, dtype=object).reshape(-1, 1))
        return client.infer("alexnet", [tensor], client_timeout=PATIENCE).as_numpy("embedding")


def test_who_sends_large_images_has_nobody_wait(server: LocalServer, built: Built) -> None:
    """Seconds of work in one request: while it is under way, others are answered again and again."""
    large = []

    def ask_for_large() -> None:
        while not large:
            try:
                large.append(ask_as_it_is(server, [large_image()] * 4))
            except InferenceServerException as error:  # it met an ordinary one, which comes first
                assert error.status() == "StatusCode.UNAVAILABLE"
                assert f"{contract.OVERLOADED}: large images" in error.message()

    thread, answered = threading.Thread(target=ask_for_large), 0
    with AlexNetClient(server.grpc_url) as client:
        image = open_split(built.data, "test").file(0)
        thread.start()
        while thread.is_alive():
            client.embed(image)
            answered += 1
        thread.join()
        # Our client decodes large ones itself.
        np.testing.assert_array_equal(client.embed([large_image()] * 4, timeout=PATIENCE), large[0])
    assert answered > 5


def test_too_much_in_one_request_is_refused_at_once(server: LocalServer) -> None:
    with pytest.raises(InferenceServerException, match="one request may take 10") as caught:
        ask_as_it_is(server, [large_image()] * 16)
    assert caught.value.status() == "StatusCode.INVALID_ARGUMENT"


def test_refusals_are_counted_by_reason(server: LocalServer) -> None:
    import urllib.request

    def count() -> float:
        with urllib.request.urlopen(server.metrics_url) as answer:
            lines = answer.read().decode().splitlines()
        (line,) = [
            line for line in lines if line.startswith("alexnet_rejected_images_total") and 'reason="empty"' in line
        ]
        return float(line.split()[-1])

    before = count()
    with AlexNetClient(server.grpc_url, "alexnet") as client, pytest.raises(InvalidImage):
        client.embed(b"")
    assert count() == before + 1


def test_the_server_decodes_as_the_client_does(server: LocalServer, built: Built) -> None:
    """One photograph-like JPEG, and Pillow images that no PNG file holds: the same embedding either way."""
    sideways = Image.open(io.BytesIO(jpeg())).convert("CMYK")
    sideways.getexif()[ExifTags.Base.Orientation] = 6
    with AlexNetClient(server.grpc_url, "alexnet") as files, AlexNetClient(server.grpc_url, "alexnet_int8") as tensors:
        np.testing.assert_array_equal(files.embed(jpeg()), tensors.embed(decode(jpeg())))
        np.testing.assert_array_equal(files.embed(sideways), tensors.embed(sideways))
        assert (files.embed(sideways) != files.embed(jpeg())).any()
