"""What a client tells: numbers that are what happened, and spans that the server's can join."""

from __future__ import annotations

import subprocess
import sys

import grpc
import numpy as np
import pytest
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.sdk.trace.export import SimpleSpanProcessor
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter
from opentelemetry.trace import StatusCode
from prometheus_client import CollectorRegistry, generate_latest

from alexnet_client import InvalidRequest, Overloaded, Retry
from alexnet_client.contract import CLIENT_METRICS, IMAGE, SERVER_MILLISECONDS
from tests.blocking import Make
from tests.fake_triton import FakeTriton, Scripted

PICTURE = np.zeros(IMAGE.shape, np.uint8)
MODEL = "alexnet_int8"
FULL = Scripted(grpc.StatusCode.UNAVAILABLE, "Exceeds maximum queue size")


@pytest.fixture
def registry() -> CollectorRegistry:
    return CollectorRegistry()


def value(registry: CollectorRegistry, name: str, **labels: str) -> float:
    return registry.get_sample_value(f"alexnet_client_{name}", {"model": MODEL, **labels}) or 0.0


def test_requests_images_and_failures_are_counted(make: Make, server: FakeTriton, registry) -> None:
    with make(server.url, MODEL, registry=registry) as client:
        client.embed([PICTURE] * 40)
        list(client.stream([PICTURE] * 33, embed=True))
        server.script(then=Scripted(grpc.StatusCode.INVALID_ARGUMENT, "no"))
        with pytest.raises(InvalidRequest):
            client.embed(PICTURE)
    assert value(registry, "requests_total", outcome="ok") == 4
    assert value(registry, "requests_total", outcome="InvalidRequest") == 1
    assert value(registry, "images_total") == 73
    assert value(registry, "in_flight") == 0
    assert value(registry, "phase_seconds_count", phase="network") == 5
    assert value(registry, "phase_seconds_count", phase="encode") == 5
    assert value(registry, "phase_seconds_count", phase="server") == 0  # nobody says


def test_repetitions_are_counted_with_why_and_how_long(make: Make, server: FakeTriton, registry) -> None:
    server.script(FULL, FULL)
    with make(server.url, MODEL, registry=registry, retry=Retry(backoff=0.05)) as client:
        client.embed(PICTURE)
        assert value(registry, "retries_total", why="Overloaded") == 2
        assert value(registry, "phase_seconds_count", phase="pause") == 2
        assert 0 < value(registry, "phase_seconds_sum", phase="pause") < 0.16
        server.script(then=FULL)
        with pytest.raises(Overloaded):
            client.embed(PICTURE)
    assert value(registry, "requests_total", outcome="Overloaded") == 1
    server.script(Scripted(seconds=0.4))
    with make(server.url, MODEL, registry=registry, retry=Retry(hedge=0.05)) as client:
        client.embed(PICTURE)
    assert value(registry, "retries_total", why="hedge") >= 1


class Gateway(FakeTriton):
    """Says how long those behind it took, as Envoy does."""

    def ModelInfer(self, request, context):  # noqa: N802
        context.send_initial_metadata([(SERVER_MILLISECONDS, "70")])
        return super().ModelInfer(request, context)


def test_what_the_gateway_took_is_told_apart(make: Make, registry) -> None:
    with Gateway() as server, make(server.url, MODEL, registry=registry) as client:
        server.script(then=Scripted(seconds=0.1))
        client.embed(PICTURE)
    assert value(registry, "phase_seconds_sum", phase="server") == pytest.approx(0.07)
    assert value(registry, "phase_seconds_sum", phase="network") >= 0.03


def test_clients_of_a_registry_share_it(make: Make, server: FakeTriton, registry) -> None:
    with make(server.url, MODEL, registry=registry) as one, make(server.url, MODEL, registry=registry) as other:
        one.embed(PICTURE)
        other.embed(PICTURE)
    assert value(registry, "requests_total", outcome="ok") == 2
    scraped = generate_latest(registry).decode()
    for metric in CLIENT_METRICS:
        assert f"# TYPE {metric.name} {metric.kind}" in scraped


def test_each_request_is_a_span_that_the_server_can_join(make: Make, server: FakeTriton) -> None:
    spans = InMemorySpanExporter()
    provider = TracerProvider()
    provider.add_span_processor(SimpleSpanProcessor(spans))
    server.script(FULL)
    with make(server.url, MODEL, tracer=provider.get_tracer("test"), retry=Retry(backoff=0)) as client:
        client.embed(PICTURE)
        server.script(then=Scripted(grpc.StatusCode.INVALID_ARGUMENT, "no"))
        with pytest.raises(InvalidRequest):
            client.embed(PICTURE)
    good, bad = spans.get_finished_spans()
    assert good.attributes["alexnet.model"] == MODEL
    assert good.attributes["alexnet.request_id"] == server.requests[0].id
    assert [event.attributes["why"] for event in good.events] == ["Overloaded"]
    wanted = f"00-{good.context.trace_id:032x}-{good.context.span_id:016x}-"
    assert [each["traceparent"][:-2] for each in server.metadata[:2]] == [wanted, wanted]
    assert good.status.status_code is StatusCode.UNSET
    assert bad.status.status_code is StatusCode.ERROR


def test_whoever_wants_none_needs_neither_library() -> None:
    program = "import alexnet_client, sys; print({'prometheus_client', 'opentelemetry'} & set(sys.modules))"
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "set()"
