"""The client against a service that answers over real gRPC, from this process."""

from __future__ import annotations

import io
import threading
import time
from concurrent.futures import ThreadPoolExecutor

import grpc
import numpy as np
import pytest
from tritonclient.grpc import service_pb2

from alexnet_client import (
    AlexNetClient,
    AlexNetError,
    ClientClosed,
    DeadlineExceeded,
    InvalidImage,
    InvalidRequest,
    ServerError,
    Unavailable,
    UnknownModel,
)
from alexnet_client._core import IN_FLIGHT
from alexnet_client._images import as_file
from alexnet_client._request import IMAGES_A_REQUEST
from alexnet_client._results import Prediction, _prediction
from alexnet_client.contract import DEFAULT_MODEL, EMBEDDING, IMAGE, MAX_BATCH, PROBABILITIES
from alexnet_client.preprocess import decode
from tests.blocking import Blocking, Make
from tests.bombs import encoded
from tests.fake_triton import LABELS, FakeTriton, Scripted, outputs
from tests.patterns import Patterns

PIXELS = "alexnet_int8"
PICTURE = np.zeros(IMAGE.shape, np.uint8)
SMALL_FILE = as_file(PICTURE)
INVALID, UNAVAILABLE = grpc.StatusCode.INVALID_ARGUMENT, grpc.StatusCode.UNAVAILABLE
REPLACED = Scripted(UNAVAILABLE, "Request for unknown model: 'alexnet_int8' version 1 is not at ready state")
SLOW = Scripted(seconds=30)


@pytest.fixture(params=[DEFAULT_MODEL, PIXELS])
def client(server: FakeTriton, make: Make, request):
    with make(server.url, request.param) as made:
        yield made


@pytest.fixture(scope="module")
def files() -> list[bytes]:
    return [Patterns().file(index) for index in range(40)]


def test_answers_are_those_of_the_network(client: AlexNetClient, files: list[bytes]) -> None:
    """Labels, order, probabilities and vectors, against the fake's arithmetic on pixels decoded here."""
    probabilities, embedding = outputs(np.stack([decode(file) for file in files]))
    got = client.classify(files, top_k=2)
    for predictions, row in zip(got, probabilities, strict=True):
        order = np.argsort(-row)[:2]
        assert [p.index for p in predictions] == order.tolist()
        assert [p.label for p in predictions] == [LABELS[i] for i in order]
        assert [p.probability for p in predictions] == pytest.approx(row[order].tolist(), abs=1e-6)
    vectors = client.embed(files)
    np.testing.assert_array_equal(vectors, embedding)
    assert vectors.dtype == np.float32
    raw = client.infer(files)
    np.testing.assert_array_equal(raw.probabilities, probabilities)
    np.testing.assert_array_equal(raw.embedding, embedding)


def test_classes_and_embedding_come_from_one_pass(
    server: FakeTriton, client: AlexNetClient, files: list[bytes]
) -> None:
    predictions, vectors = client.classify_and_embed(files[:5], top_k=2)
    (request,) = server.requests
    assert [output.name for output in request.outputs][:2] == [PROBABILITIES.name, EMBEDDING.name]
    assert predictions == client.classify(files[:5], top_k=2)
    np.testing.assert_array_equal(vectors, client.embed(files[:5]))


def test_nothing_is_asked_but_the_inference(server: FakeTriton, client: AlexNetClient, files: list[bytes]) -> None:
    client.classify(files[0])
    client.embed(files)
    assert server.calls == {"ModelInfer": 3}


def test_none_at_all_is_none_at_all(server: FakeTriton, client: AlexNetClient) -> None:
    assert client.classify([]) == []
    assert client.embed([]).shape == (0, 4096)
    assert client.classify_and_embed([]).predictions == []
    assert client.infer([]).embedding.shape == (0, 4096)
    assert not server.calls


def test_a_thousand_and_one_images_in_one_call(make: Make, server: FakeTriton) -> None:
    """More than any batch: the client splits them."""
    with make(server.url, timeout=30) as client:
        got = client.classify([SMALL_FILE] * 1001, top_k=1)
    assert len(got) == 1001
    assert len({predictions[0] for predictions in got}) == 1
    sizes = [request.inputs[0].shape[0] for request in server.requests]
    assert max(sizes) == IMAGES_A_REQUEST <= MAX_BATCH


def test_a_calls_own_requests_overlap_and_are_few(make: Make, server: FakeTriton) -> None:
    server.script(then=Scripted(seconds=0.05))
    with make(server.url, PIXELS) as client:
        client.embed([PICTURE] * IMAGES_A_REQUEST * 10)
    assert server.calls["ModelInfer"] == 10
    assert server.peak == IN_FLIGHT


def test_a_late_first_answer_does_not_change_the_order(make: Make, server: FakeTriton, files: list[bytes]) -> None:
    with make(server.url) as client:
        wanted = client.embed(files)
        server.script(Scripted(seconds=0.2))
        np.testing.assert_array_equal(client.embed(files), wanted)


def test_as_many_threads_as_many_requests_in_flight(make: Make, server: FakeTriton) -> None:
    server.script(then=Scripted(seconds=1))
    with make(server.url, PIXELS, timeout=30) as client, ThreadPoolExecutor(64) as pool:
        list(pool.map(client.classify, [PICTURE] * 64))
    assert server.peak == 64


def test_the_deadline_reaches_the_wire_and_the_queue(make: Make, server: FakeTriton) -> None:
    for model in (PIXELS, DEFAULT_MODEL):
        with make(server.url, model, timeout=2.5) as client:
            client.embed(PICTURE)
    with_queue, without = server.requests
    assert 2_000_000 < with_queue.parameters["timeout"].int64_param <= 2_500_000  # what is left of it
    assert "timeout" not in without.parameters  # an ensemble has no queue of its own


def test_decoding_here_is_within_the_deadline(make: Make, server: FakeTriton, files: list[bytes]) -> None:
    """Seconds of it: it ends with the image that was begun."""
    large = encoded((4000, 2500), "PNG")
    with make(server.url, PIXELS, timeout=0.2) as client:
        started = time.monotonic()
        with pytest.raises(DeadlineExceeded, match=r"after 0.2 s images were still being encoded here"):
            client.embed([large] * 30)
        assert time.monotonic() - started < 2
    assert not server.calls


def test_each_call_may_have_a_deadline_of_its_own(make: Make, server: FakeTriton) -> None:
    """Omitted is the client's; None is for ever."""
    with make(server.url, PIXELS, timeout=2.5) as client:
        client.embed(PICTURE, timeout=9)
        client.embed(PICTURE, timeout=None)
        assert client.timeout == 2.5
    own, for_ever = server.requests
    assert 8_000_000 < own.parameters["timeout"].int64_param <= 9_000_000
    assert "timeout" not in for_ever.parameters
    with make(server.url, PIXELS, timeout=None) as client:
        client.health()
        with pytest.raises(InvalidRequest, match="timeout is 0: want seconds"):
            client.classify(PICTURE, timeout=0)
        server.script(then=SLOW)
        with pytest.raises(DeadlineExceeded):
            client.classify(PICTURE, timeout=0.1)


def test_a_deadline_that_passes_is_an_error_in_time(make: Make, server: FakeTriton) -> None:
    server.script(then=SLOW)
    with make(server.url, PIXELS, timeout=0.2) as client:
        started = time.monotonic()
        with pytest.raises(DeadlineExceeded, match=f"{PIXELS} at {server.url} did not answer within 0.2 s"):
            client.embed([PICTURE] * IMAGES_A_REQUEST * 8)
        assert time.monotonic() - started < 2


def test_every_bad_image_of_a_request_is_named(client: AlexNetClient, files: list[bytes]) -> None:
    """Decoded there or here: the same places, the same reasons."""
    images = [*files, *files]
    images[35], images[40] = b"no image", files[0][:100]
    with pytest.raises(InvalidImage, match="image 35: got 8 bytes .*; image 40: got a truncated") as caught:
        client.classify(images)
    assert list(caught.value.images) == [35, 40]
    assert caught.value.index == 35


def test_those_that_cannot_travel_do_not_hide_the_others(client: AlexNetClient, files: list[bytes]) -> None:
    """A missing file is found here, what is no image by the decoder, wherever that is; open files are read once."""
    images: list = [b"no image", "no-such.png", io.BytesIO(files[0]), 17]
    with pytest.raises(InvalidImage, match=r"image 0: got 8 bytes.*; image 1 \(no-such.png\).*; image 3: got a int"):
        client.classify(images)


def test_files_are_named_with_their_place(server: FakeTriton, client: AlexNetClient, tmp_path) -> None:
    path = tmp_path / "notes.png"
    path.write_text("no image")
    with pytest.raises(InvalidImage, match=r"image 1 \(.*notes.png\): got 8 bytes"):
        client.embed([PICTURE, path])
    with pytest.raises(InvalidImage, match=r"image 0 \(no-such.png\): .*No such file"):
        client.embed("no-such.png")


def test_an_earlier_requests_error_comes_first(make: Make, server: FakeTriton, files: list[bytes]) -> None:
    """Image 3 is refused by the server, late; image 35 here, at once."""
    images: list = [*files]
    images[3], images[35] = b"no image", 17
    server.script(Scripted(seconds=0.2))
    with make(server.url) as client, pytest.raises(InvalidImage) as caught:
        client.embed(images)
    assert list(caught.value.images) == [3]


def test_after_an_error_the_rest_is_called_off(make: Make, server: FakeTriton) -> None:
    white = np.full((224, 224, 3), 255, np.uint8)
    first = white.tobytes()[:1]
    server.script(then=lambda request: Scripted(INVALID, "no") if request.raw_input_contents[0][:1] == first else SLOW)
    with make(server.url, PIXELS) as client:
        started = time.monotonic()
        with pytest.raises(InvalidRequest):
            client.embed([white] * IMAGES_A_REQUEST + [PICTURE] * IMAGES_A_REQUEST * 3)
        assert time.monotonic() - started < 2
        server.script()
        assert client.embed(PICTURE).shape == (1, 4096)


def test_what_is_not_served_is_said_so(make: Make, server: FakeTriton) -> None:
    server.models.discard("alexnet_fp16")
    with make(server.url, "alexnet_fp16") as client, pytest.raises(UnknownModel, match="'alexnet_fp16'"):
        client.embed(PICTURE)
    with make("127.0.0.1:1") as client, pytest.raises(Unavailable, match="no server answers at 127.0.0.1:1"):
        client.classify(PICTURE)


@pytest.mark.parametrize("top_k", [0, -1, 2**31, 1.5, "3", True])
def test_a_senseless_top_k_is_refused(server: FakeTriton, client: AlexNetClient, top_k) -> None:
    for method in (client.classify, client.classify_and_embed):
        with pytest.raises(InvalidRequest, match=f"top_k is {top_k!r}: want"):
            method(PICTURE, top_k)
    assert len(client.classify(PICTURE, 2**31 - 1)[0]) == len(LABELS)
    assert len(client.classify(PICTURE, np.int64(2))[0]) == 2


def test_a_closed_client_says_so_and_closes_again(make: Make, server: FakeTriton) -> None:
    client = make(server.url)
    name = {AlexNetClient: "AlexNetClient", Blocking: "AsyncAlexNetClient"}[make]
    client.close()
    client.close()
    assert repr(client) == f"{name}({server.url!r}, model='alexnet', timeout=5, closed)"
    for method in (client.classify, client.embed):
        with pytest.raises(ClientClosed, match=f"{server.url} was closed: make a new one"):
            method(PICTURE)
    with pytest.raises(ClientClosed):
        client.health()
    with pytest.raises(ClientClosed):
        next(client.stream([PICTURE], embed=True))
    assert not issubclass(ClientClosed, AlexNetError)  # a mistake of the program's, not to be waited out


def test_closing_ends_the_calls_of_other_threads(make: Make, server: FakeTriton) -> None:
    server.script(then=SLOW)
    client = make(server.url, PIXELS, timeout=60)
    outcomes: list[Exception] = []

    def ask() -> None:
        try:
            client.embed([PICTURE] * IMAGES_A_REQUEST * 3)
        except Exception as error:
            outcomes.append(error)

    thread = threading.Thread(target=ask)
    thread.start()
    while server.peak < 3:
        time.sleep(0.01)
    client.close()
    thread.join(5)
    (error,) = outcomes
    assert type(error) is ClientClosed


@pytest.mark.parametrize(
    ("rows", "message"),
    [
        ([], "resnet answered nothing where checksum was asked for"),
        ([1], "resnet answered embedding where checksum was asked for"),
    ],
)
def test_what_was_not_asked_for_is_no_answer(
    make: Make, monkeypatch: pytest.MonkeyPatch, rows: list[int], message: str
) -> None:
    def strange(self, request, context):
        answer = service_pb2.ModelInferResponse(model_name="resnet")
        for count in rows:
            answer.outputs.add(name=EMBEDDING.name, datatype=EMBEDDING.dtype, shape=(count, *EMBEDDING.shape))
            answer.raw_output_contents.append(bytes(4 * count * EMBEDDING.shape[0]))
        return answer

    monkeypatch.setattr(FakeTriton, "ModelInfer", strange)
    with FakeTriton() as server, make(server.url) as client, pytest.raises(ServerError, match=message):
        client.embed(PICTURE)


def test_without_labels_a_class_has_its_number() -> None:
    assert _prediction(b"0.250000:7") == Prediction("7", 7, 0.25)
    assert _prediction(b"0.250000:7:a:b") == Prediction("a:b", 7, 0.25)
