"""Certificates for tests, of an authority of their own."""

from __future__ import annotations

from dataclasses import dataclass, field
from datetime import datetime
from pathlib import Path

import grpc
import trustme

from alexnet_client import TLS


@dataclass(frozen=True)
class Certificates:
    """PEM files of an authority, a server and a client."""

    folder: Path
    #: When the first server's certificate ends; by default after every test.
    not_after: datetime | None = None
    _authority: trustme.CA = field(default_factory=trustme.CA, init=False, repr=False)

    def __post_init__(self) -> None:
        self._authority.cert_pem.write_to_path(str(self.folder / "ca.pem"))
        self.issue("server", "127.0.0.1", "localhost", "triton.example", not_after=self.not_after)
        self.issue("client", "client@example.org")

    def issue(self, name: str, *identities: str, not_after: datetime | None = None) -> None:
        """Write a certificate and its key, in the place of those before of that name."""
        issued = self._authority.issue_cert(*identities, not_after=not_after)
        issued.private_key_pem.write_to_path(str(self.folder / f"{name}.key"))
        (self.folder / f"{name}.pem").write_bytes(b"".join(blob.bytes() for blob in issued.cert_chain_pems))

    @property
    def tls(self) -> TLS:
        """A client that knows the authority, and shows no certificate of its own."""
        return TLS(ca=self.folder / "ca.pem")

    @property
    def mutual(self) -> TLS:
        """One that shows its own, too."""
        return TLS(self.folder / "ca.pem", self.folder / "client.pem", self.folder / "client.key")

    def server(self, *, ask_for_clients: bool = False) -> grpc.ServerCredentials:
        """A server's, which may want to see a client's."""
        pair = ((self.folder / "server.key").read_bytes(), (self.folder / "server.pem").read_bytes())
        ca = (self.folder / "ca.pem").read_bytes()
        return grpc.ssl_server_credentials([pair], ca if ask_for_clients else None, ask_for_clients)
