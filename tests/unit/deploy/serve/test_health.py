"""grpc.health.v1: asked once, and watched."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import grpc
import pytest
from grpc_health.v1.health_pb2 import HealthCheckRequest, HealthCheckResponse
from grpc_health.v1.health_pb2_grpc import HealthStub

from deploy.serve.health import HealthService

SERVING, NOT_SERVING = HealthCheckResponse.SERVING, HealthCheckResponse.NOT_SERVING


@pytest.fixture
def service(tmp_path: Path) -> Iterator[HealthService]:
    running = HealthService(tmp_path / "health")
    yield running
    running.close()


@pytest.fixture
def stub(service: HealthService) -> Iterator[HealthStub]:
    with grpc.insecure_channel(f"unix:{service.socket}") as channel:
        yield HealthStub(channel)


def ask(stub: HealthStub, name: str = "") -> int:
    return stub.Check(HealthCheckRequest(service=name), timeout=10).status


def test_it_says_what_it_is_told(service: HealthService, stub: HealthStub) -> None:
    assert ask(stub) == NOT_SERVING
    service.tell(["alexnet", "alexnet_int8"])
    assert [ask(stub, name) for name in ("", "alexnet", "alexnet_int8")] == [SERVING] * 3
    service.tell(["alexnet"])
    assert [ask(stub, name) for name in ("", "alexnet", "alexnet_int8")] == [SERVING, SERVING, NOT_SERVING]
    service.tell([])
    assert [ask(stub, name) for name in ("", "alexnet")] == [NOT_SERVING] * 2
    with pytest.raises(grpc.RpcError, match="NOT_FOUND"):
        ask(stub, "resnet")


def test_who_watches_is_told_of_each_change_and_of_the_end(service: HealthService, stub: HealthStub) -> None:
    watching = [stub.Watch(HealthCheckRequest(), timeout=30) for _ in range(20)]  # more than there are threads
    assert {next(each).status for each in watching} == {NOT_SERVING}
    service.tell(["alexnet"])
    assert {next(each).status for each in watching} == {SERVING}
    service.tell(["alexnet"])
    service.close()
    assert {next(each).status for each in watching} == {NOT_SERVING}
