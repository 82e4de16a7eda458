"""A name server on loopback, for what finds its peers by DNS, as in a cluster."""

from __future__ import annotations

import ipaddress
import socketserver
import struct
import threading
from collections.abc import Iterator
from contextlib import contextmanager

#: RFC 1035: an answer, with authority; one that refers to the question's name, of type A, class IN, not to be kept.
ANSWER, RECORD = 0x8580, struct.Struct("!HHHIH")
NAME, A, INTERNET = 0xC00C, 1, 1


class Names(socketserver.ThreadingUDPServer):
    """Answers every question for an IPv4 address with :attr:`addresses`."""

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), _Answer)
        self.addresses: tuple[str, ...] = ()

    @property
    def port(self) -> int:
        """Where it listens (UDP)."""
        return self.server_address[1]

    @contextmanager
    def answering(self) -> Iterator[Names]:
        """It, as long as it is needed."""
        with self:
            thread = threading.Thread(target=self.serve_forever, kwargs={"poll_interval": 0.05})
            thread.start()
            try:
                yield self
            finally:
                self.shutdown()
                thread.join()


class _Answer(socketserver.BaseRequestHandler):
    server: Names

    def handle(self) -> None:
        packet, sock = self.request
        (number,) = struct.unpack_from("!H", packet)
        end = packet.index(0, 12) + 5
        (kind,) = struct.unpack_from("!H", packet, end - 4)
        found = self.server.addresses if kind == A else ()
        records = [RECORD.pack(NAME, A, INTERNET, 0, 4) + ipaddress.IPv4Address(address).packed for address in found]
        header = struct.pack("!6H", number, ANSWER, 1, len(found), 0, 0)
        sock.sendto(header + packet[12:end] + b"".join(records), self.client_address)
