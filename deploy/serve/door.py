"""The door: an Envoy on the public ports, before the tritonserver of the day.

Clients talk to the door and never to Triton, which listens on sockets in a folder that only this user may enter. So a
release or a revival is another tritonserver behind the same port: the door turns new requests to it in one step and
lets the old one answer those that it has. What a client has no business with (model control, shared memory, logging,
tracing) has no route.
"""

from __future__ import annotations

import json
import signal
import subprocess
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

from alexnet_client.files import atomic_path
from deploy.serve.installation import envoy
from deploy.serve.ports import HOST, Ports
from deploy.serve.process import ServerError, spawn
from deploy.serve.sockets import Sockets
from deploy.serve.unix_http import get

#: Of KServe's gRPC service, what a client may call; all of ``grpc.health.v1`` beside it.
METHODS = (
    "ModelConfig",
    "ModelInfer",
    "ModelMetadata",
    "ModelReady",
    "ModelStatistics",
    "ModelStreamInfer",
    "RepositoryIndex",
    "ServerLive",
    "ServerMetadata",
    "ServerReady",
)
#: Bytes in flight that a stream and a connection may have; several images, so that a request is not sent by halves.
STREAM_WINDOW, CONNECTION_WINDOW = 2**20, 2**24
#: Requests that may be on their way at once; Triton's own queues refuse long before.
MOST_REQUESTS = 1 << 16
#: How often it was told where to lead.
TURNS = "cluster.grpc.update_success"
#: To tritonservers, those that it does not lead to any more included.
CONNECTIONS = "cluster.grpc.upstream_cx_active"
_TYPE = "type.googleapis.com/envoy"


def bootstrap(ports: Ports, folder: Path, *, http_too: bool) -> dict[str, Any]:
    """Envoy's configuration.

    Args:
        folder: of its endpoints' files and its own administration's socket.
        http_too: also open KServe's HTTP.
    """
    calls = [f"/inference.GRPCInferenceService/{method}" for method in METHODS]
    grpc_routes: list[dict[str, Any]] = [
        *({"match": {"path": call}, "route": _route("grpc")} for call in calls),
        {"match": {"prefix": "/grpc.health.v1.Health/"}, "route": _route("grpc")},
        {"match": {"prefix": "/"}, "direct_response": {"status": 403}},
    ]
    metrics_routes = [{"match": {"path": "/metrics"}, "route": _route("metrics")}]
    listeners = [
        _listener("grpc", ports.grpc, "HTTP2", grpc_routes),
        _listener("metrics", ports.metrics, "HTTP1", metrics_routes),
    ]
    if http_too:
        listeners.append(
            _listener("http", ports.http, "HTTP1", [{"match": {"prefix": "/v2"}, "route": _route("http")}])
        )
    return {
        "node": {"id": "door", "cluster": "alexnet"},
        "admin": {"address": {"pipe": {"path": str(folder / "admin"), "mode": 0o600}}},
        "static_resources": {
            "listeners": listeners,
            "clusters": [
                _cluster("grpc", folder, two=True),
                _cluster("metrics", folder),
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


def _listener(name: str, port: int, codec: str, routes: list[dict[str, Any]]) -> dict[str, Any]:
    windows = {"initial_stream_window_size": STREAM_WINDOW, "initial_connection_window_size": CONNECTION_WINDOW}
    manager = {
        "@type": f"{_TYPE}.extensions.filters.network.http_connection_manager.v3.HttpConnectionManager",
        "stat_prefix": name,
        "codec_type": codec,
        **({"http2_protocol_options": windows} if codec == "HTTP2" else {}),
        "route_config": {"virtual_hosts": [{"name": name, "domains": ["*"], "routes": routes}]},
        "http_filters": [
            {
                "name": "envoy.filters.http.router",
                "typed_config": {"@type": f"{_TYPE}.extensions.filters.http.router.v3.Router"},
            }
        ],
    }
    return {
        "name": name,
        "address": {"socket_address": {"address": HOST, "port_value": port}},
        "filter_chains": [
            {"filters": [{"name": "envoy.filters.network.http_connection_manager", "typed_config": manager}]}
        ],
    }


def _route(cluster: str) -> dict[str, Any]:
    # A deadline is the client's; one that Triton has closed the door on is sent to the next, as nothing has run.
    retry = {"retry_on": "connect-failure,refused-stream,reset-before-request", "num_retries": 2}
    return {"cluster": cluster, "timeout": "0s", "retry_policy": retry}


def _cluster(name: str, folder: Path, *, two: bool = False) -> dict[str, Any]:
    windows = {"initial_stream_window_size": STREAM_WINDOW, "initial_connection_window_size": CONNECTION_WINDOW}
    version = {"http2_protocol_options": windows} if two else {"http_protocol_options": {}}
    limits = ("max_connections", "max_pending_requests", "max_requests", "max_retries")
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
        "circuit_breakers": {"thresholds": [dict.fromkeys(limits, MOST_REQUESTS)]},
        "typed_extension_protocol_options": {
            "envoy.extensions.upstreams.http.v3.HttpProtocolOptions": {
                "@type": f"{_TYPE}.extensions.upstreams.http.v3.HttpProtocolOptions",
                "explicit_http_config": version,
            }
        },
    }


class Door:
    """A running Envoy."""

    def __init__(self, ports: Ports, folder: Path, log_file: Path, *, http_too: bool = False) -> None:
        """Name where it stands; nothing is started yet.

        Args:
            folder: of its own, which only this user may enter.
        """
        self._ports = ports
        self._folder = folder
        self._log_file = log_file
        self._http_too = http_too
        self._version = 0
        self._leads_to: Sockets | None = None
        self._process: subprocess.Popen[bytes] | None = None

    @property
    def alive(self) -> bool:
        """Whether it runs."""
        return self._process is not None and self._process.poll() is None

    @property
    def reachable(self) -> bool:
        """Whether it can be told where to lead."""
        return (self._folder / "admin").exists()

    @property
    def pid(self) -> int:
        """Its process id; 0 while it was never opened."""
        return self._process.pid if self._process else 0

    def open(self, timeout: float) -> None:
        """Start it, leading to where it led last.

        Raises:
            deploy.serve.installation.InstallationError: there is no Envoy.
            ServerError: it does not start within ``timeout`` seconds; names the log.
        """
        self.close()
        self._folder.mkdir(mode=0o700, exist_ok=True)
        config = self._folder / "envoy.json"
        config.write_text(json.dumps(bootstrap(self._ports, self._folder, http_too=self._http_too)))
        self._write()
        command = [str(envoy()), "--config-path", str(config), "--concurrency", "1", "--disable-hot-restart"]
        self._process = spawn([*command, "--log-level", "warning"], self._log_file, signal.SIGKILL)
        deadline = time.monotonic() + timeout
        while not self._ask("/ready").startswith("LIVE"):
            if not self.alive or time.monotonic() > deadline:
                raise ServerError(f"the door (Envoy) does not open: see {self._log_file}")
            time.sleep(0.02)

    def lead_to(self, sockets: Sockets | None, timeout: float) -> None:
        """Turn new requests to another tritonserver; returns when they go there.

        Raises:
            ServerError: Envoy did not take it up within ``timeout`` seconds.
        """
        self._leads_to = sockets
        if not self.alive:
            return
        deadline = time.monotonic() + timeout
        before = self._wait(TURNS, lambda turns: turns >= 0, deadline)
        self._write()
        if before is None or self._wait(TURNS, lambda turns: turns > before, deadline) is None:
            raise ServerError(f"the door (Envoy) does not turn: see {self._log_file}")

    def drain(self, timeout: float) -> None:
        """Wait until it is connected with nothing but where it leads: all others have answered what they were asked."""
        wanted = 1 if self._leads_to else 0
        self._wait(CONNECTIONS, lambda connections: connections <= wanted, time.monotonic() + timeout)

    def close(self) -> None:
        """End it. Again is harmless."""
        if self._process is not None:
            self._process.kill()  # what it has in flight, the server behind it had no time for
            self._process.wait()
            self._process = None

    def _write(self) -> None:
        self._version += 1
        for name in ("http", "metrics", "grpc"):  # the last is the one that is waited for
            path = getattr(self._leads_to, name) if self._leads_to else None
            with atomic_path(self._folder / f"{name}.json") as partial:
                partial.write_text(json.dumps(endpoints(name, path, self._version)))

    def _wait(self, counter: str, until: Callable[[int], bool], deadline: float) -> int | None:
        """Its count once that holds; None if it did not in time. Not to be told is not to be told none."""
        while self.alive and time.monotonic() < deadline:
            name, _, count = self._ask(f"/stats?filter=^{counter}$").strip().partition(": ")
            if name == counter and until(int(count)):
                return int(count)
            time.sleep(0.02)
        return None

    def _ask(self, path: str) -> str:
        """Envoy's own administration, over its socket; empty while it does not answer."""
        try:
            return get(self._folder / "admin", path)
        except OSError:
            return ""
