"""Envoy's configuration: which calls go through the door, how many, and how large."""

from __future__ import annotations

from pathlib import Path
from string import Template
from typing import Any

from alexnet_client.contract import ENSEMBLE, MAX_BATCH, MAX_REQUEST_BYTES, OVERLOADED, TOO_LARGE
from deploy.serve import haste
from deploy.serve.admission import LEAST
from deploy.serve.ports import Ports
from deploy.serve.tls import ServerTLS

#: KServe's gRPC service.
SERVICE = "/inference.GRPCInferenceService"
#: Of it, what a client may call. A stream is for models that
#: answer several times or remember, of which there are none.
METHODS = (
    "ModelConfig",
    "ModelInfer",
    "ModelMetadata",
    "ModelReady",
    "ModelStatistics",
    "RepositoryIndex",
    "ServerLive",
    "ServerMetadata",
    "ServerReady",
)
#: And this service, by which others than clients ask; the supervisor answers, on this socket beside the door's folder.
HEALTH, HEALTH_SOCKET = "/grpc.health.v1.Health/", "health"
#: Seconds in which all of a request has to be there, and bytes of the door's memory at which whoever takes most of it
#: is hung up on: a request counts as under way only when it is complete, so that one who sends slowly, or never, keeps
#: nobody else out.
BODY_SECONDS, HEAP_BYTES = 10, 2**30
#: The same, in shares of that memory, from the largest stream's end to that of whoever takes a mebibyte.
LARGEST_ENDS, ALL_LARGE_END, LARGE = 0.8, 0.95, 20
#: Connections in all, and requests of one of them at once.
CONNECTIONS, STREAMS = 4096, 1024
#: Bytes in flight that a stream and a connection may have; several images, so that a request is not sent by halves.
STREAM_WINDOW, CONNECTION_WINDOW = 2**20, 2**24
#: Where the door's own metrics are: what was refused before Triton saw it, and how long callers waited.
DOOR_METRICS, _STATISTICS = "/metrics/door", "/stats/prometheus"
#: Envoy's mark of a refusal that a gateway before the door is not to take to the next replica, which has as much to do.
NOT_ELSEWHERE = ("x-envoy-ratelimited", "true")
#: The call that is work, and counted; all others have a limit of their own, so that full is not dead.
INFER = f"{SERVICE}/ModelInfer"
#: Inference is counted by itself, so that many quick questions (probes) do not make slow answers look rare.
_COUNTED = [{"name": "infer", "headers": [{"name": ":path", "string_match": {"exact": INFER}}]}]
#: Of other calls, and of connections: none that is ever met.
MANY = 1 << 16
#: A caller that gives up early resets its request, as an attack on HTTP/2 does (CVE-2023-44487), for which Envoy closes
#: the connection, and behind a proxy everybody's. What is behind it is bounded otherwise.
RUNTIME = {"overload.premature_reset_total_stream_count": 100_000}
#: In percent, 0 or 100: whether who asks for readiness is told that something is being mended.
MENDING = "mending.percent"
CHECK = Template(Path(__file__).with_name("check.lua").read_text()).substitute(most_images=MAX_BATCH, infer=INFER)
#: And Triton's metrics, read with care.
COUNTS = Template(Path(__file__).with_name("metrics.lua").read_text()).substitute(ensemble=ENSEMBLE)
#: What TLS agrees on with a caller of KServe's HTTP.
HTTP_1 = "http/1.1"
#: KServe's calls by HTTP, which are gRPC's above. Triton's lock on the others has a key that HTTP/1 can carry.
HTTP_CALLS = (
    r"/v2(/health/(live|ready)|/repository/index)?",
    r"/v2/models/[^/]+(/versions/[0-9]+)?(/(ready|infer|config|stats))?",
)
_TYPE = "type.googleapis.com/envoy"
_FILTERS = f"{_TYPE}.extensions.filters.http"


def bootstrap(ports: Ports, folder: Path, *, http_too: bool, tls: ServerTLS | None = None) -> dict[str, Any]:
    """Envoy's configuration.

    Args:
        folder: of its endpoints' files and its own administration's socket.
        http_too: also open KServe's HTTP.
        tls: of gRPC and HTTP; None is plain text, as metrics always are.
    """
    calls = [f"{SERVICE}/{method}" for method in METHODS]
    grpc_routes: list[dict[str, Any]] = [
        _while_mending({"path": f"{SERVICE}/ServerReady"}),
        *(_while_too_hasty(step) for step in haste.STEPS),
        *({"match": {"path": call}, "route": _route("grpc", work=call == INFER)} for call in calls),
        # Who watches may hear nothing for days.
        {"match": {"prefix": HEALTH}, "route": {"cluster": "health", "timeout": "0s", "idle_timeout": "0s"}},
        {"match": {"prefix": "/"}, "direct_response": {"status": 403}},
    ]
    get = [{"name": ":method", "string_match": {"exact": "GET"}}]
    metrics_routes: list[dict[str, Any]] = [
        {"match": {"path": "/metrics", "headers": get}, "route": _route("metrics")},
        {"match": {"path": DOOR_METRICS, "headers": get}, "route": {"cluster": "admin", "prefix_rewrite": _STATISTICS}},
    ]
    listeners = [
        _listener("grpc", ports, "HTTP2", grpc_routes, tls.transport_socket(folder) if tls else None),
        # Those who watch are let in whoever else is.
        {**_listener("metrics", ports, "HTTP1", metrics_routes), "ignore_global_conn_limit": True},
    ]
    if http_too:
        http_routes = [
            _while_mending({"path": "/v2/health/ready"}),
            *({"match": {"safe_regex": {"regex": call}}, "route": _route("http", work=True)} for call in HTTP_CALLS),
            {"match": {"prefix": "/"}, "direct_response": {"status": 403}},
        ]
        listeners.append(
            _listener("http", ports, "HTTP1", http_routes, tls.transport_socket(folder, HTTP_1) if tls else None)
        )
    return {
        "node": {"id": "door", "cluster": "alexnet"},
        "admin": {"address": {"pipe": {**_admin(folder), "mode": 0o600}}},
        "overload_manager": _OVERLOAD,
        # Where the limit of requests is changed.
        "layered_runtime": {
            "layers": [{"name": "ours", "static_layer": RUNTIME}, {"name": "admission", "admin_layer": {}}]
        },
        "static_resources": {
            "listeners": listeners,
            "clusters": [
                _cluster("grpc", folder, two=True, script=CHECK),
                _cluster("metrics", folder, script=COUNTS),
                _beside("admin", _admin(folder)),
                {**_beside("health", {"path": str(folder.parent / HEALTH_SOCKET)}), **_HTTP_2},
                *([_cluster("http", folder)] if http_too else ()),
            ],
        },
    }


def endpoints(name: str, path: Path | None, version: int) -> dict[str, Any]:
    """Where a cluster is; nowhere without a ``path``, and then every call is UNAVAILABLE at once."""
    found = [{"endpoint": {"address": {"pipe": {"path": str(path)}}}}] if path else []
    return {
        "version_info": str(version),
        "resources": [
            {
                "@type": f"{_TYPE}.config.endpoint.v3.ClusterLoadAssignment",
                "cluster_name": name,
                "endpoints": [{"lb_endpoints": found}],
            }
        ],
    }


def _listener(
    name: str, ports: Ports, codec: str, routes: list[dict[str, Any]], transport_socket: dict[str, Any] | None = None
) -> dict[str, Any]:
    http_2 = {
        "initial_stream_window_size": STREAM_WINDOW,
        "initial_connection_window_size": CONNECTION_WINDOW,
        "max_concurrent_streams": STREAMS,
    }
    manager = {
        "@type": f"{_TYPE}.extensions.filters.network.http_connection_manager.v3.HttpConnectionManager",
        "stat_prefix": name,
        "codec_type": codec,
        **({"http2_protocol_options": http_2} if codec == "HTTP2" else {}),
        "request_headers_timeout": f"{BODY_SECONDS}s",
        "request_timeout": f"{BODY_SECONDS}s",
        "route_config": {
            "virtual_hosts": [{"name": name, "domains": ["*"], "routes": routes, "virtual_clusters": _COUNTED}]
        },
        "http_filters": [_WHOLE, _filter("router", "router.v3.Router")],
        "local_reply_config": {"mappers": _SAID},
    }
    return {
        "name": name,
        "address": {"socket_address": {"address": ports.host, "port_value": getattr(ports, name)}},
        "filter_chains": [
            {
                "filters": [{"name": "envoy.filters.network.http_connection_manager", "typed_config": manager}],
                **({"transport_socket": transport_socket} if transport_socket else {}),
            }
        ],
    }


def _filter(name: str, kind: str, **options: Any) -> dict[str, Any]:
    return {"name": f"envoy.filters.http.{name}", "typed_config": {"@type": f"{_FILTERS}.{kind}", **options}}


#: A request goes on when it is complete.
_WHOLE = _filter("buffer", "buffer.v3.Buffer", max_request_bytes=MAX_REQUEST_BYTES)


def _monitor(name: str, kind: str, **options: Any) -> dict[str, Any]:
    typed = {"@type": f"{_TYPE}.extensions.resource_monitors.{kind}", **options}
    return {"name": f"envoy.resource_monitors.{name}", "typed_config": typed}


#: What is done when memory runs out, or connections.
_OVERLOAD = {
    "buffer_factory_config": {"minimum_account_to_track_power_of_two": LARGE},
    "resource_monitors": [
        _monitor("fixed_heap", "fixed_heap.v3.FixedHeapConfig", max_heap_size_bytes=HEAP_BYTES),
        _monitor(
            "global_downstream_max_connections",
            "downstream_connections.v3.DownstreamConnectionsConfig",
            max_active_downstream_connections=CONNECTIONS,
        ),
    ],
    "actions": [
        {
            "name": "envoy.overload_actions.reset_high_memory_stream",
            "triggers": [
                {
                    "name": "envoy.resource_monitors.fixed_heap",
                    "scaled": {"scaling_threshold": LARGEST_ENDS, "saturation_threshold": ALL_LARGE_END},
                }
            ],
        }
    ],
}


def _said(code: int, text: str, **more: Any) -> dict[str, Any]:
    comparison = {"op": "EQ", "value": {"default_value": code, "runtime_key": f"said_{code}"}}
    return {"filter": {"status_code_filter": {"comparison": comparison}}, "body": {"inline_string": text}, **more}


#: gRPC's number for it.
_DEADLINE_EXCEEDED = {"headers_to_add": [{"header": {"key": "grpc-status", "value": "4"}}]}
#: What is said in place of Envoy's own words: when the limit of requests is met; of a request that is too large, or not
#: there in time; and of one whose server has ended while it was on the way and too large to be kept, which Envoy has as
#: UNKNOWN.
_SAID = (
    {
        "filter": {"response_flag_filter": {"flags": ["UO"]}},
        "body": {"inline_string": f"{OVERLOADED}: as many requests are under way as are answered in good time"},
        "headers_to_add": [{"header": dict(zip(("key", "value"), NOT_ELSEWHERE, strict=True))}],
    },
    _said(413, f"{TOO_LARGE} {MAX_REQUEST_BYTES:,} bytes: send fewer images at once"),
    _said(408, f"a request has {BODY_SECONDS} s to arrive, and this one has not", **_DEADLINE_EXCEEDED),
    _said(504, "no answer is as fast as this deadline wants it", **_DEADLINE_EXCEEDED),
    _said(507, "the server behind the door has ended, another takes its place: send again", status_code=503),
)


def _route(cluster: str, *, work: bool = False) -> dict[str, Any]:
    # A deadline is the client's; one that Triton has closed the door on is sent to the next, as nothing has run.
    retry = {"retry_on": "connect-failure,refused-stream,reset-before-request", "num_retries": 2}
    priority = "DEFAULT" if work else "HIGH"
    return {"cluster": cluster, "timeout": "0s", "priority": priority, "retry_policy": retry}


def _while_mending(match: dict[str, Any]) -> dict[str, Any]:
    """Not ready, for as long as :data:`MENDING` says so. Triton itself says that it is, whatever its backends do."""
    chosen = {"default_value": {"numerator": 0}, "runtime_key": MENDING}
    said = {"status": 503, "body": {"inline_string": "a process of this server has failed and is being replaced"}}
    return {"match": {**match, "runtime_fraction": chosen}, "direct_response": said}


def _while_too_hasty(step: int) -> dict[str, Any]:
    """An inference whose deadline is this step at most, while no answer is as fast."""
    deadline = {"name": "grpc-timeout", "string_match": {"safe_regex": {"regex": haste.shorter(step)}}}
    chosen = {"default_value": {"numerator": 0}, "runtime_key": haste.key(step)}
    return {
        "match": {"path": INFER, "headers": [deadline], "runtime_fraction": chosen},
        "direct_response": {"status": 504},
    }


def _admin(folder: Path) -> dict[str, Any]:
    return {"path": str(folder / "admin")}


def _beside(name: str, pipe: dict[str, Any]) -> dict[str, Any]:
    """A cluster that is not Triton: Envoy's own administration, to which one path leads that only reads, and health."""
    endpoint = {"endpoint": {"address": {"pipe": pipe}}}
    return {
        "name": name,
        "type": "STATIC",
        "load_assignment": {"cluster_name": name, "endpoints": [{"lb_endpoints": [endpoint]}]},
    }


_HTTP_2 = {
    "typed_extension_protocol_options": {
        "envoy.extensions.upstreams.http.v3.HttpProtocolOptions": {
            "@type": f"{_TYPE}.extensions.upstreams.http.v3.HttpProtocolOptions",
            "explicit_http_config": {"http2_protocol_options": {}},
        }
    }
}


def _cluster(name: str, folder: Path, *, two: bool = False, script: str = "") -> dict[str, Any]:
    windows = {"initial_stream_window_size": STREAM_WINDOW, "initial_connection_window_size": CONNECTION_WINDOW}
    version = {"http2_protocol_options": windows} if two else {"http_protocol_options": {}}
    limits = dict.fromkeys(("max_connections", "max_pending_requests", "max_requests", "max_retries"), MANY)
    return {
        "name": name,
        "type": "EDS",
        "connect_timeout": "1s",
        "eds_cluster_config": {
            "eds_config": {
                "resource_api_version": "V3",
                "path_config_source": {
                    "path": str(folder / f"{name}.json"),
                    "watched_directory": {"path": str(folder)},
                },
            }
        },
        "circuit_breakers": {
            "thresholds": [
                {"priority": "DEFAULT", **limits, "max_requests": LEAST},
                {"priority": "HIGH", **limits},
            ]
        },
        "typed_extension_protocol_options": {
            "envoy.extensions.upstreams.http.v3.HttpProtocolOptions": {
                "@type": f"{_TYPE}.extensions.upstreams.http.v3.HttpProtocolOptions",
                "explicit_http_config": version,
                # After the limit of requests: what is refused is not read through.
                "http_filters": [
                    _WHOLE,
                    *([_filter("lua", "lua.v3.Lua", default_source_code={"inline_string": script})] if script else ()),
                    _filter("upstream_codec", "upstream_codec.v3.UpstreamCodec"),
                ],
            }
        },
    }
