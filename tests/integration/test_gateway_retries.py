"""What the gateway repeats and what it does not, before replicas that say what they are told; and how one leaves.

In plain text, as the chart renders it without certificates; the replicas are real gRPC servers.
"""

from __future__ import annotations

import itertools
import json
import threading
from collections.abc import Callable, Iterator

import grpc
import numpy as np
import pytest

from alexnet_client.contract import IMAGE, OVERLOADED
from deploy.loadtest.workload import workload
from deploy.serve.envoy import INFER, NOT_ELSEWHERE
from deploy.serve.ports import Ports, free_ports
from tests.charts import CHART, render
from tests.fake_triton import FakeTriton, Scripted
from tests.gateways import Gateway
from tests.loads import ONCE, RATE, Load
from tests.names import Names
from tests.waiting import PATIENCE, wait_until

VALUES = CHART / "ci" / "claim-values.yaml"
ADDRESSES = ("127.0.0.11", "127.0.0.12")
MESSAGES = workload("alexnet_int8", [np.zeros(IMAGE.shape, np.uint8)]).messages
#: Under way at most.
REQUESTS = 8
#: What a replica says that stops, starts or has lost a process: client/README.md.
ELSEWHERE = (
    (
        grpc.StatusCode.UNAVAILABLE,
        "Server is stopping, scheduler for model has stopped accepting new requests",
    ),
    (grpc.StatusCode.UNAVAILABLE, "Request for unknown model: 'alexnet_int8' is not at ready state"),
    (grpc.StatusCode.NOT_FOUND, "Request for unknown model: 'alexnet_int8' has no available versions"),
    (grpc.StatusCode.CANCELLED, "Cancelled on the server side"),
    (
        grpc.StatusCode.INTERNAL,
        "Failed to process the request(s), message: Stub process is not healthy.",
    ),
)
Start = Callable[[Ports], Gateway]


@pytest.fixture(scope="module")
def replicas() -> Iterator[tuple[FakeTriton, ...]]:
    """Two, at one port of two addresses."""
    port = free_ports().grpc
    with FakeTriton(url=f"{ADDRESSES[0]}:{port}") as one, FakeTriton(url=f"{ADDRESSES[1]}:{port}") as other:
        yield one, other


@pytest.fixture(scope="module")
def start(replicas: tuple[FakeTriton, ...], tmp_path_factory: pytest.TempPathFactory) -> Iterator[Start]:
    with Names().answering() as names:
        names.addresses = ADDRESSES

        def make(ports: Ports) -> Gateway:
            settings = {
                "server.grpcPort": replicas[0].url.rpartition(":")[2],
                "gateway.enabled": "true",
                "gateway.host": ports.host,
                "gateway.grpcPort": ports.grpc,
                "gateway.operationsPort": ports.metrics,
                "gateway.limits.requests": REQUESTS,
                "gateway.preStopSeconds": 1,
            }
            manifests = render(VALUES, *(f"{key}={value}" for key, value in settings.items()))
            return Gateway(manifests, tmp_path_factory.mktemp("gateway"), ports, names)

        yield make


@pytest.fixture(scope="module")
def gateway(start: Start) -> Iterator[Gateway]:
    with start(free_ports()).running() as running:
        yield running


@pytest.fixture
def infer(gateway: Gateway, replicas: tuple[FakeTriton, ...]) -> Iterator[Callable[[], grpc.Future]]:
    """A call, begun; the replicas answer as they should until they are told otherwise."""
    for replica in replicas:
        replica.script()
        replica.calls.clear()
    with grpc.insecure_channel(gateway.url, ONCE) as channel:
        yield lambda: channel.unary_unary(INFER).future(MESSAGES[0], timeout=PATIENCE)


def asked(replicas: tuple[FakeTriton, ...]) -> int:
    return sum(replica.calls["ModelInfer"] for replica in replicas)


@pytest.mark.parametrize(("code", "message"), ELSEWHERE, ids=lambda value: getattr(value, "name", ""))
def test_what_a_stopping_replica_says_is_not_heard(replicas, infer, code: grpc.StatusCode, message: str) -> None:
    replicas[0].script(then=Scripted(code, message))
    codes = [infer().code() for _ in range(20)]
    assert codes == [grpc.StatusCode.OK] * 20
    assert replicas[0].calls["ModelInfer"]


@pytest.mark.parametrize(
    ("code", "marks"),
    [
        (grpc.StatusCode.UNAVAILABLE, (NOT_ELSEWHERE,)),  # as the door marks that it has too much to do
        (grpc.StatusCode.INVALID_ARGUMENT, ()),
        (grpc.StatusCode.RESOURCE_EXHAUSTED, ()),
        (grpc.StatusCode.DEADLINE_EXCEEDED, ()),
    ],
)
def test_what_another_replica_would_say_as_well_is_asked_once(replicas, infer, code, marks) -> None:
    for replica in replicas:
        replica.script(then=Scripted(code, "as it is", marks=marks))
    call = infer()
    assert (call.code(), call.details()) == (code, "as it is")
    assert asked(replicas) == 1


def test_a_slow_answer_is_waited_for_beside_other_attempts(replicas, infer) -> None:
    """The first attempt answers after the time of one, and the others never do."""
    first = itertools.chain([Scripted(seconds=1.5)], itertools.repeat(Scripted(seconds=PATIENCE)))
    for replica in replicas:
        replica.script(then=lambda _: next(first))
    assert infer().code() is grpc.StatusCode.OK
    assert asked(replicas) > 1


def test_callers_have_no_say_in_what_the_gateway_does(gateway: Gateway, replicas, infer) -> None:
    """Envoy takes such headers from whom it trusts."""
    for replica in replicas:
        replica.script(then=Scripted(seconds=0.2))
    meddling = (("x-envoy-upstream-rq-timeout-ms", "1"), ("x-envoy-upstream-rq-per-try-timeout-ms", "1"))
    with grpc.insecure_channel(gateway.url, ONCE) as channel:
        assert channel.unary_unary(INFER).future(MESSAGES[0], PATIENCE, meddling).code() is grpc.StatusCode.OK
    assert asked(replicas) == 1


def test_of_more_than_it_takes_the_rest_is_refused_at_once(replicas, infer) -> None:
    go = threading.Event()

    def wait(_: object) -> Scripted:
        go.wait(PATIENCE)
        return Scripted()

    for replica in replicas:
        replica.script(then=wait)
    calls = [infer() for _ in range(4 * REQUESTS)]
    wait_until(lambda: any(call.done() for call in calls), "a refusal")
    go.set()
    refused = [call for call in calls if call.code() is not grpc.StatusCode.OK]
    assert 0 < len(refused) < len(calls)
    for call in refused:
        assert call.code() is grpc.StatusCode.UNAVAILABLE
        assert call.details().startswith(OVERLOADED)


def test_a_gateway_that_leaves_fails_nobody(replicas, start: Start) -> None:
    """Of two, by its preStop and SIGTERM, under load; callers know both addresses."""
    for replica in replicas:
        replica.script()
    with start(free_ports()).running() as leaving, start(free_ports()).running() as other:
        options = [*ONCE, ("grpc.lb_policy_name", "round_robin")]
        with (
            grpc.insecure_channel(f"ipv4:{leaving.url},{other.url}", options) as channel,
            Load(channel, MESSAGES) as load,
        ):
            load.more(RATE)
            leaving.leave()
            load.more(RATE)
        assert load.outcomes.keys() == {"OK"}
    calls = [json.loads(line) for line in leaving.log.read_text().splitlines()]
    assert {(call["call"], call["status"], call["client"]) for call in calls} == {(INFER, "OK", "127.0.0.1")}
    assert {call["replica"].partition(":")[0] for call in calls} <= set(ADDRESSES)
