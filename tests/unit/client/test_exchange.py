"""What is sent again, when, how often: decided without a server, and without a clock."""

from __future__ import annotations

import re
from dataclasses import dataclass, field

import grpc
import numpy as np
import pytest
from tritonclient.grpc.service_pb2 import ModelInferRequest, ModelInferResponse

from alexnet_client import (
    AlexNetError,
    AnswerMismatch,
    DeadlineExceeded,
    InvalidImage,
    InvalidRequest,
    NotPermitted,
    Overloaded,
    Retry,
    ServerError,
    Unavailable,
    UnknownModel,
    refusal,
)
from alexnet_client._errors import MEANINGS, Failure, meaning, translate
from alexnet_client._exchange import Deadline, Reply, Send, exchange, tolerant
from alexnet_client._options import Options
from alexnet_client._request import Request, Wanted
from alexnet_client._retry import SAVED, Budget
from alexnet_client.checksum import checksum
from alexnet_client.contract import CHECKSUM, EMBEDDING, ENCODED, IMAGE

LOST = Reply(None, "UNAVAILABLE", "failed to connect to all addresses")
FULL = Reply(None, "UNAVAILABLE", "Exceeds maximum queue size")
BROKEN = Reply(None, "INTERNAL", "out of cheese")
LATE = Reply(None, "DEADLINE_EXCEEDED", "Deadline Exceeded")


BLACK, GREY = (bytes([shade]) * int(np.prod(IMAGE.shape)) for shade in (0, 128))


def good(rows: int = 1, image: bytes = BLACK) -> Reply:
    """The answer to so many requests for an image, less what is not read here."""
    sums = checksum(np.frombuffer(rows * image, np.uint8).reshape(rows, *IMAGE.shape))
    response = ModelInferResponse(raw_output_contents=[sums.tobytes()])
    response.outputs.add(name=CHECKSUM.name, datatype=CHECKSUM.dtype, shape=sums.shape)
    return Reply(response)


@dataclass
class Driver:
    """Goes through the steps as a client would, in no time: a reply is at hand, or is not in the time to wait."""

    retry: Retry
    timeout: float | None = 5.0
    budget_share: float = 0.2
    now: float = 0.0
    #: What was done: seconds of a pause, or the timeout of an attempt.
    pauses: list[float | None] = field(default_factory=list)
    attempts: list[float | None] = field(default_factory=list)
    messages: list[int] = field(default_factory=list)

    def __post_init__(self) -> None:
        self.budget = Budget(self.budget_share, self.clock)

    def clock(self) -> float:
        return self.now

    def run(self, *replies: Reply | None, takes: float = 0.1, refused: dict | None = None, images: int = 1):
        """The outcome; None is an attempt that is slow: no reply comes until the next one is asked for."""
        request = Request(range(images), [BLACK] * images, IMAGE, [Wanted(EMBEDDING)], {})
        options = Options("u:1", "alexnet_int8", self.timeout, self.retry)
        deadline = Deadline(self.timeout, self.clock)
        if refused is None:
            steps = exchange(options, request, "id-1", deadline, self.budget)
        else:
            steps = tolerant(options, request, "id-1", deadline, self.budget, refused)
        coming, under_way = list(replies), 0
        try:
            step = next(steps)
            while True:
                if isinstance(step, Send):
                    under_way += 1
                    self.attempts.append(step.timeout)
                    self.messages.append(step.message.message.inputs[0].shape[0])
                    step = steps.send(None)
                elif not under_way:
                    self.pauses.append(step.seconds)
                    self.now += step.seconds
                    step = steps.send(None)
                else:
                    reply = coming.pop(0)
                    self.now += takes if reply else step.seconds
                    under_way -= reply is not None
                    step = steps.send(reply)
        except StopIteration as end:
            assert not coming, "it asked no further"
            return end.value


@pytest.mark.parametrize("reply", [LOST, FULL, Reply(None, "NOT_FOUND", "model 'm' has no available versions")])
def test_what_may_pass_is_sent_again(reply: Reply) -> None:
    driver = Driver(Retry(attempts=3))
    assert driver.run(reply, reply, good()).response.outputs
    assert len(driver.attempts) == 3
    assert 0 <= driver.pauses[0] <= 0.1
    assert 0 <= driver.pauses[1] <= 0.2


@pytest.mark.parametrize("reply", [BROKEN, LATE, Reply(None, "INVALID_ARGUMENT", "no"), Reply(None, "NOT_FOUND", "no")])
def test_what_cannot_pass_is_not(reply: Reply) -> None:
    driver = Driver(Retry(attempts=3))
    with pytest.raises(AlexNetError):
        driver.run(reply)
    assert len(driver.attempts) == 1


def test_after_the_last_attempt_it_says_what_and_how_often() -> None:
    driver = Driver(Retry(attempts=3))
    cause = ValueError("gRPC's")
    with pytest.raises(Overloaded, match=r"Exceeds maximum queue size.*\(sent 3 times\)") as caught:
        driver.run(LOST, LOST, Reply(None, FULL.status, FULL.message, cause))
    assert caught.value.failure == Failure("UNAVAILABLE", FULL.message, "u:1", "alexnet_int8", "id-1", 3, 5.0)
    assert caught.value.__cause__ is cause


def test_all_attempts_have_one_deadline() -> None:
    driver = Driver(Retry(attempts=9, backoff=0.5), timeout=2.0)
    with pytest.raises(Unavailable):
        driver.run(*[LOST] * 9, takes=0.6)
    assert driver.attempts[0] == 2.0
    assert driver.attempts == sorted(driver.attempts, reverse=True)
    assert len(driver.attempts) < 5
    assert driver.now <= 2.0 + 0.6  # it does not wait for what it can no longer use
    for_ever = Driver(Retry(attempts=2), timeout=None)
    assert for_ever.run(LOST, good())
    assert for_ever.attempts == [None, None]


def test_pauses_double_up_to_the_longest_and_are_random() -> None:
    retry = Retry(backoff=0.1, max_backoff=1.0)
    assert [retry.pause(n, lambda: 1.0) for n in (1, 2, 3, 4, 5, 6)] == pytest.approx([0.1, 0.2, 0.4, 0.8, 1, 1])
    assert retry.pause(3, lambda: 0.0) == 0
    assert len({retry.pause(3) for _ in range(10)}) > 1
    assert retry.pause(10**6, lambda: 1.0) == 1


def test_a_budget_bounds_what_all_repetitions_cost() -> None:
    """100 saved up; then a fifth of the requests, and ten a second."""
    driver = Driver(Retry(attempts=2, backoff=0), budget_share=0.2)

    def load(requests: int) -> int:
        before = len(driver.attempts)
        for _ in range(requests):
            with pytest.raises(Unavailable):
                driver.run(*[LOST] * 2, takes=0.0)
        return len(driver.attempts) - before - requests

    assert load(100) == SAVED == 100
    assert load(1000) == pytest.approx(200 + 20, abs=21)  # the deposits of the first hundred, too
    assert load(1000) == pytest.approx(200, abs=1)
    driver.now += 3
    assert load(20) == 20  # 30 were saved up


def test_a_slow_attempt_is_hedged_and_the_first_answer_wins() -> None:
    driver = Driver(Retry(attempts=3, hedge=0.05))
    assert driver.run(None, None, good())
    assert driver.attempts == [5.0, 4.95, 4.9]  # the third is the last
    assert not driver.pauses
    driver = Driver(Retry(attempts=3, hedge=0.05))
    assert driver.run(good())
    assert len(driver.attempts) == 1


def test_a_hedged_attempt_that_fails_leaves_the_other_its_time() -> None:
    driver = Driver(Retry(attempts=2, hedge=0.05))
    assert driver.run(None, LOST, good())
    assert len(driver.attempts) == 2
    driver = Driver(Retry(attempts=2, hedge=0.05))
    with pytest.raises(InvalidRequest):
        driver.run(None, Reply(None, "INVALID_ARGUMENT", "no"))


def test_bad_images_are_left_out_and_named() -> None:
    refused: dict[int, InvalidImage] = {}
    driver = Driver(Retry())
    said = Reply(None, "INVALID_ARGUMENT", refusal.message({3: "got a cat", 17: "got a dog"}))
    answered = driver.run(said, good(62), refused=refused, images=64)
    assert driver.messages == [64, 62]
    assert list(answered.places) == [place for place in range(64) if place not in (3, 17)]
    assert [str(refused[place]) for place in (3, 17)] == ["image 3: got a cat", "image 17: got a dog"]
    assert driver.run(Reply(None, "INVALID_ARGUMENT", refusal.message({0: "no"})), refused=refused) is None


def cut(reply: Reply) -> Reply:
    reply.response.raw_output_contents[0] = reply.response.raw_output_contents[0][:-1]
    return reply


ANOTHERS = {"of another image": good(image=GREY), "of two": good(2), "cut off": cut(good())}


@pytest.mark.parametrize("reply", ANOTHERS.values(), ids=ANOTHERS)
def test_another_requests_answer_is_thrown_away_and_asked_for_again(reply: Reply) -> None:
    driver = Driver(Retry(attempts=3))
    right = good()
    assert driver.run(reply, reply, right).response is right.response
    assert len(driver.attempts) == 3
    with pytest.raises(AnswerMismatch, match="alexnet_int8 at u:1 did not answer this request .* send again later"):
        Driver(Retry(attempts=1)).run(reply)


def test_an_answer_without_a_checksum_is_no_alexnets() -> None:
    with pytest.raises(ServerError, match="answered nothing where checksum was asked for: is it an AlexNet"):
        Driver(Retry()).run(Reply(ModelInferResponse()))


@pytest.mark.parametrize(
    "options",
    [{"attempts": 0}, {"attempts": True}, {"attempts": 1.5}, {"backoff": -1}, {"budget": float("inf")}, {"hedge": "1"}],
)
def test_a_senseless_policy_is_refused(options: dict) -> None:
    ((name, value),) = options.items()
    with pytest.raises(InvalidRequest, match=re.escape(f"{name} is {value!r}: want")):
        Retry(**options)


#: Triton's words, Envoy's and gRPC's, as they were met; what they mean, and whether to send again.
SAID = [
    ("UNAVAILABLE", "in ensemble 'alexnet', Exceeds maximum queue size", Overloaded, True),
    ("UNAVAILABLE", "too much to do: 96 requests are under way", Overloaded, True),
    ("UNAVAILABLE", "Request timeout expired", Overloaded, True),
    ("UNAVAILABLE", "failed to connect to all addresses; last error: Connection refused", Unavailable, True),
    ("UNAVAILABLE", "Server is stopping, scheduler for model has stopped accepting requests", Unavailable, True),
    ("UNAVAILABLE", "Request for unknown model: 'alexnet' is not at ready state", Unavailable, True),
    ("UNAVAILABLE", "Request for unknown model: 'alexnet' version 3 is not at ready state", Unavailable, True),
    ("NOT_FOUND", "Request for unknown model: 'alexnet' has no available versions", Unavailable, True),
    ("NOT_FOUND", "Request for unknown model: 'resnet' is not found", UnknownModel, False),
    ("UNAVAILABLE", "Request for unknown model: 'resnet' is not found", UnknownModel, False),
    ("INTERNAL", "Stub process 'alexnet_int8_0_0' is not healthy.", Unavailable, True),
    ("INTERNAL", "Stream removed (RST_STREAM (Received RST_STREAM with error code 2))", Unavailable, True),
    ("UNAVAILABLE", "the answer's checksum is another request's", AnswerMismatch, True),
    ("INTERNAL", "onnxruntime: bad allocation", ServerError, False),
    ("RESOURCE_EXHAUSTED", "Received message larger than max (40000000 vs. 33554432)", InvalidRequest, False),
    ("RESOURCE_EXHAUSTED", "rate limited", Overloaded, True),
    ("UNKNOWN", "a request has at most 33,554,432 bytes", InvalidRequest, False),
    ("UNKNOWN", "exceeded request buffer limit while retrying upstream", Unavailable, True),
    ("CANCELLED", "RST_STREAM", Unavailable, True),
    ("CANCELLED", "called off", ServerError, False),
    ("UNAUTHENTICATED", "no token", NotPermitted, False),
    ("DEADLINE_EXCEEDED", "Deadline Exceeded", DeadlineExceeded, False),
]


@pytest.mark.parametrize(("status", "message", "kind", "again"), SAID)
def test_what_servers_say_is_told_apart(status: str, message: str, kind: type, again: bool) -> None:
    error = translate(Failure(status, message, "u:1", "m"))
    assert type(error) is kind
    assert meaning(status, message).again is again
    assert "u:1" in str(error) or "m refused" in str(error)


def test_every_code_has_a_meaning_whatever_is_said() -> None:
    for code in grpc.StatusCode:
        if code is not grpc.StatusCode.OK:
            assert meaning(code.name, "").kind
    assert {status for each in MEANINGS for status in each.statuses} == {code.name for code in grpc.StatusCode} - {"OK"}


def contents(request: Request) -> list[bytes]:
    return list(ModelInferRequest.FromString(request.encode()).raw_input_contents)


@pytest.mark.parametrize("size", [1, 0x7F, 0x80, 0x3FFF, 0x4000, 150_528, 2**21])
def test_a_request_is_encoded_as_protobuf_does_it(size: int) -> None:
    request = Request([0], [bytes(size)], IMAGE, [Wanted(EMBEDDING)], {})
    plain = ModelInferRequest(raw_input_contents=[bytes(size)])
    plain.MergeFrom(request.message)
    assert request.encode() == plain.SerializeToString()


def test_a_repetition_is_what_was_sent_first_whatever_has_become_of_the_array() -> None:
    array = np.random.default_rng(0).integers(0, 256, IMAGE.shape, np.uint8)
    wanted = [array[:, ::-1].tobytes()]
    request = Request([0], [array[:, ::-1]], IMAGE, [Wanted(EMBEDDING)], {})
    assert contents(request) == wanted
    array[:] = 0
    request.message.id = "again"
    assert contents(request) == wanted


def test_files_travel_with_their_lengths_and_can_be_left_out() -> None:
    request = Request([3, 4, 6], [b"ab", b"", b"cde"], ENCODED, [Wanted(EMBEDDING)], {})
    assert contents(request) == [b"\2\0\0\0ab" + b"\0\0\0\0" + b"\3\0\0\0cde"]
    assert request.message.inputs[0].shape == [3, 1]
    left = request.without({4})
    assert left.places == [3, 6]
    assert contents(left) == [b"\2\0\0\0ab" + b"\3\0\0\0cde"]
    assert left.message.inputs[0].shape == [2, 1]


def test_pixels_travel_one_after_the_other_and_can_be_left_out() -> None:
    pictures = [bytes([shade]) * int(np.prod(IMAGE.shape)) for shade in range(3)]
    request = Request([0, 1, 2], list(pictures), IMAGE, [Wanted(EMBEDDING)], {})
    assert contents(request) == [b"".join(pictures)]
    assert contents(request.without({0, 1})) == pictures[2:]
