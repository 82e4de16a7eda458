"""What a client tells of its requests: metrics in a Prometheus registry, spans of an OpenTelemetry tracer.

Neither library is imported unless its object is handed over.
"""

from __future__ import annotations

import threading
import weakref
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from alexnet_client.contract import (
    CLIENT_IMAGES_TOTAL,
    CLIENT_IN_FLIGHT,
    CLIENT_METRICS,
    CLIENT_PHASE_SECONDS,
    CLIENT_REQUESTS_TOTAL,
    CLIENT_RETRIES_TOTAL,
    SERVER_MILLISECONDS,
    Metric,
)

if TYPE_CHECKING:
    from opentelemetry.trace import Tracer
    from prometheus_client import CollectorRegistry

#: Why a second attempt is made when the first has not failed.
HEDGE = "hedge"


class Telemetry:
    """Makes an observer of each request."""

    def __init__(self, model: str, registry: CollectorRegistry | None, tracer: Tracer | None) -> None:
        self._model, self._tracer = model, tracer
        self._families = None if registry is None else _families(registry)

    def observe(self, request_id: str, images: int) -> Observer:
        """A request begins."""
        span = None
        if self._tracer is not None:
            from opentelemetry.trace import SpanKind  # noqa: PLC0415

            attributes: dict[str, str | int] = {
                "rpc.system": "grpc",
                "rpc.service": "inference.GRPCInferenceService",
                "rpc.method": "ModelInfer",
                "alexnet.model": self._model,
                "alexnet.request_id": request_id,
                "alexnet.images": images,
            }
            span = self._tracer.start_span("alexnet infer", kind=SpanKind.CLIENT, attributes=attributes)
        return Observer(self._model, images, self._families, span)

    def encoded(self, seconds: float) -> None:
        """A request's images were turned to bytes."""
        if self._families is not None:
            self._families[CLIENT_PHASE_SECONDS].labels(self._model, "encode").observe(seconds)


class Observer:
    """Sees one request."""

    def __init__(self, model: str, images: int, families: Mapping[Metric, Any] | None, span: Any) -> None:
        self._model, self._images, self._families, self._span = model, images, families, span
        if families is not None:
            families[CLIENT_IN_FLIGHT].labels(model).inc()

    def metadata(self) -> tuple[tuple[str, str], ...]:
        """What an attempt carries so that the server's spans join this one (W3C Trace Context)."""
        if self._span is None:
            return ()
        from opentelemetry.trace import set_span_in_context  # noqa: PLC0415
        from opentelemetry.trace.propagation.tracecontext import TraceContextTextMapPropagator  # noqa: PLC0415

        carrier: dict[str, str] = {}
        TraceContextTextMapPropagator().inject(carrier, set_span_in_context(self._span))
        return tuple(carrier.items())

    def attempted(self, seconds: float, headers: Mapping[str, str]) -> None:
        """An attempt was answered, or refused, after so long."""
        if self._families is None:
            return
        server = headers.get(SERVER_MILLISECONDS, "")
        if server.isdigit():
            self._phase("server", min(seconds, int(server) / 1000))
            seconds = max(0.0, seconds - int(server) / 1000)
        self._phase("network", seconds)

    def again(self, why: str) -> None:
        """Another attempt is made."""
        if self._families is not None:
            self._families[CLIENT_RETRIES_TOTAL].labels(self._model, why).inc()
        if self._span is not None:
            self._span.add_event("sent again", {"why": why})

    def paused(self, seconds: float) -> None:
        """It waits before another."""
        self._phase("pause", seconds)

    def ended(self, error: BaseException | None) -> None:
        """That was its last."""
        if self._families is not None:
            outcome = _outcome(error)
            self._families[CLIENT_IN_FLIGHT].labels(self._model).dec()
            self._families[CLIENT_REQUESTS_TOTAL].labels(self._model, outcome).inc()
            if error is None:
                self._families[CLIENT_IMAGES_TOTAL].labels(self._model).inc(self._images)
        if self._span is not None:
            if error is not None:
                from opentelemetry.trace import Status, StatusCode  # noqa: PLC0415

                self._span.set_status(Status(StatusCode.ERROR, str(error)))
            self._span.end()

    def _phase(self, phase: str, seconds: float) -> None:
        if self._families is not None:
            self._families[CLIENT_PHASE_SECONDS].labels(self._model, phase).observe(seconds)


def _outcome(error: BaseException | None) -> str:
    if isinstance(error, GeneratorExit):  # nobody waits for it any more
        return "called off"
    return "ok" if error is None else type(error).__name__


#: Of a client that tells nobody.
SILENT = Observer("", 0, None, None)

_made: weakref.WeakKeyDictionary[CollectorRegistry, Mapping[Metric, Any]] = weakref.WeakKeyDictionary()
_lock = threading.Lock()


def _families(registry: CollectorRegistry) -> Mapping[Metric, Any]:
    """Of all clients that tell the same registry."""
    import prometheus_client  # noqa: PLC0415

    with _lock:
        if registry not in _made:
            _made[registry] = {
                metric: getattr(prometheus_client, metric.kind.title())(
                    metric.name,
                    metric.text,
                    metric.labels,
                    registry=registry,
                    **({"buckets": metric.buckets} if metric.buckets else {}),
                )
                for metric in CLIENT_METRICS
            }
        return _made[registry]
