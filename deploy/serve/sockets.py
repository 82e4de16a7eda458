"""Where a tritonserver listens: Unix sockets, which the permissions of their folder keep from others."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

#: A socket's state in ``/proc/net/unix``.
CONNECTED = "03"


@dataclass(frozen=True, slots=True)
class Sockets:
    """The sockets of one tritonserver, in a folder of its own; Triton joins gRPC's address and port by a colon."""

    folder: Path

    @property
    def grpc(self) -> Path:
        """KServe's gRPC."""
        return self.folder / "grpc:1"

    @property
    def callers(self) -> int:
        """Connections with gRPC's socket; Linux only."""
        lines = Path("/proc/net/unix").read_text().splitlines()
        return sum(line.endswith(f" {self.grpc}") and line.split()[5] == CONNECTED for line in lines)

    @property
    def http(self) -> Path:
        """KServe's HTTP, where it is on."""
        return self.folder / "http"

    @property
    def metrics(self) -> Path:
        """Prometheus'."""
        return self.folder / "metrics"
