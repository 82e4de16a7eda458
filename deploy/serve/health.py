"""``grpc.health.v1``, as the supervisor sees it: what Triton says of itself stays true when its processes are dead.

``Check`` and ``Watch`` (github.com/grpc/grpc/blob/master/doc/health-checking.md), of the server and of each model by
name; Triton 24.10 has ``Check`` alone.
"""

from __future__ import annotations

from collections.abc import Iterable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import grpc
from grpc_health.v1 import health
from grpc_health.v1.health_pb2 import HealthCheckResponse
from grpc_health.v1.health_pb2_grpc import add_HealthServicer_to_server

#: Threads; one who watches takes none while nothing changes.
THREADS = 2


class HealthService:
    """Answers on a Unix socket, until it is closed."""

    def __init__(self, socket: Path) -> None:
        """Listen; nothing serves yet."""
        self.socket = socket
        #: What serves.
        self._names: frozenset[str] = frozenset()
        self._servicer = health.HealthServicer()
        self._servicer.set("", HealthCheckResponse.NOT_SERVING)
        self._server = grpc.server(ThreadPoolExecutor(THREADS, thread_name_prefix="health"))
        add_HealthServicer_to_server(self._servicer, self._server)
        self._server.add_insecure_port(f"unix:{socket}")
        self._server.start()

    def tell(self, models: Iterable[str]) -> None:
        """These serve, and with them the server; without any it does not. Again is harmless."""
        names = frozenset(models)
        names |= {""} if names else set()
        for name in names ^ self._names:
            serves = name in names
            self._servicer.set(name, HealthCheckResponse.SERVING if serves else HealthCheckResponse.NOT_SERVING)
        self._names = names

    def close(self) -> None:
        """Tell those who watch, and end. Again is harmless."""
        self._servicer.enter_graceful_shutdown()
        self._server.stop(None).wait()
