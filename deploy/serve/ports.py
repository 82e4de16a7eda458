"""Ports on loopback. Envoy binds with SO_REUSEPORT: two servers would share a port and each answer half, unnoticed."""

from __future__ import annotations

import socket
from dataclasses import dataclass

from alexnet_client.errors import AlexNetError

HOST = "127.0.0.1"


class PortTaken(AlexNetError):
    """A port that was asked for belongs to another process."""


@dataclass(frozen=True, slots=True)
class Ports:
    """Where the server listens."""

    grpc: int = 8001
    http: int = 8000
    metrics: int = 8002

    def check(self, *, http: bool) -> None:
        """Raises: PortTaken: someone listens there already; names the port.

        Args:
            http: whether that port is used.
        """
        for name in (name for name in self.__slots__ if http or name != "http"):
            port = getattr(self, name)
            with socket.socket() as probe:
                probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
                try:
                    probe.bind((HOST, port))
                except OSError as error:
                    raise PortTaken(
                        f"port {port} ({name}) on {HOST} is taken or not allowed ({error.strerror}): "
                        f"stop what listens there, or give --{name}-port another, or --free-ports"
                    ) from error


def free_ports() -> Ports:
    """Three ports that are free now."""
    sockets = [socket.socket() for _ in Ports.__slots__]
    try:
        for each in sockets:
            each.bind((HOST, 0))
        return Ports(*(each.getsockname()[1] for each in sockets))
    finally:
        for each in sockets:
            each.close()
