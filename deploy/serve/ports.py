"""Where a server listens.

Envoy binds with SO_REUSEPORT: two servers would share a port and each answer half, unnoticed.
"""

from __future__ import annotations

import socket
from dataclasses import dataclass
from ipaddress import IPv4Address

from alexnet_client.errors import AlexNetError

#: Nobody but this machine; every address of it is ``0.0.0.0``.
HOST = "127.0.0.1"
NAMES = ("grpc", "http", "metrics")


class PortTaken(AlexNetError):
    """A port that was asked for belongs to another process."""


@dataclass(frozen=True, slots=True)
class Ports:
    """Where the server listens."""

    grpc: int = 8001
    http: int = 8000
    metrics: int = 8002
    #: An IPv4 address.
    host: str = HOST

    def check(self, *, http: bool) -> None:
        """Look before Envoy does.

        Args:
            http: whether that port is used.

        Raises:
            PortTaken: someone listens there already, or that is no address of this machine; names the port.
        """
        try:
            IPv4Address(self.host)
        except ValueError as error:
            raise PortTaken(f"{self.host!r} is no IPv4 address: give --host one of this machine, or 0.0.0.0") from error
        for name in (name for name in NAMES if http or name != "http"):
            port = getattr(self, name)
            with socket.socket() as probe:
                probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
                try:
                    probe.bind((self.host, port))
                except socket.gaierror as error:
                    raise PortTaken(
                        f"{self.host!r} is no address: give --host an IPv4 address of this machine"
                    ) from error
                except OSError as error:
                    raise PortTaken(
                        f"port {port} ({name}) on {self.host} is taken or not allowed ({error.strerror}): "
                        f"stop what listens there, or give --{name}-port another, or --free-ports"
                    ) from error


def free_ports(host: str = HOST) -> Ports:
    """Three ports that are free now."""
    sockets = {name: socket.socket() for name in NAMES}
    try:
        for each in sockets.values():
            each.bind((host, 0))
        return Ports(**{name: each.getsockname()[1] for name, each in sockets.items()}, host=host)
    finally:
        for each in sockets.values():
            each.close()
