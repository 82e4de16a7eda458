"""One trace from the caller to the network: the server's spans are the client's span's children."""

from __future__ import annotations

import json
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.sdk.trace.export import SimpleSpanProcessor
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter

from alexnet_client import AlexNetClient
from alexnet_client.contract import IMAGE
from deploy.serve.__main__ import main
from deploy.serve.server import LocalServer
from tests.waiting import wait_until

PICTURE = np.zeros(IMAGE.shape, np.uint8)


@contextmanager
def collector() -> Iterator[tuple[str, list[dict[str, Any]]]]:
    """An endpoint of OTLP over HTTP, and the spans that came."""
    spans: list[dict[str, Any]] = []

    class Collector(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            sent = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
            for resource in sent["resourceSpans"]:
                spans.extend(span for scope in resource["scopeSpans"] for span in scope["spans"])
            self.send_response(200)
            self.send_header("Content-Length", "0")
            self.end_headers()

        def log_message(self, *_: object) -> None:
            pass

    with ThreadingHTTPServer(("127.0.0.1", 0), Collector) as server:
        threading.Thread(target=server.serve_forever).start()
        yield f"http://127.0.0.1:{server.server_port}/v1/traces", spans
        server.shutdown()


def test_the_servers_spans_belong_to_the_clients(int8_repository: Path, tmp_path: Path) -> None:
    kept = InMemorySpanExporter()
    provider = TracerProvider()
    provider.add_span_processor(SimpleSpanProcessor(kept))
    with (
        collector() as (url, spans),
        LocalServer(int8_repository, use_free_ports=True, traces=url, work=tmp_path / "work") as server,
    ):
        with AlexNetClient(server.grpc_url, "alexnet_int8") as silent:
            silent.embed(PICTURE)
        with AlexNetClient(server.grpc_url, "alexnet_int8", tracer=provider.get_tracer("test")) as client:

            def arrived() -> bool:  # Triton loses one now and then
                client.embed(PICTURE)
                return any(span["name"] == "compute" for span in spans)

            wait_until(arrived, "a span of the network")
        ours = {f"{span.context.trace_id:032x}": span for span in kept.get_finished_spans() if span.context}
        assert {span["traceId"] for span in spans} <= ours.keys()  # not of who sends no context, nor of the pulse
        for request in (span for span in spans if span["name"] == "InferRequest"):
            parent = ours[request["traceId"]]
            assert parent.context is not None
            assert request["parentSpanId"] == f"{parent.context.span_id:016x}"
            assert int(request["startTimeUnixNano"]) >= (parent.start_time or 0)


def test_an_endpoint_that_cannot_be_meant_is_refused_before_anything_starts(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as end:
        main(["--traces", "collector:4317"])
    assert end.value.code == 2
    assert "got collector:4317: want OTLP over HTTP, as http://" in capsys.readouterr().err
