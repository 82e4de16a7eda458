"""The door's certificate, and whether it wants to see its callers'; read anew when the files are replaced."""

from __future__ import annotations

import json
import ssl
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from alexnet_client.errors import AlexNetError
from alexnet_client.files import atomic_path, file_errors

_TYPE = "type.googleapis.com/envoy.extensions.transport_sockets.tls.v3"
_SERVER, _CLIENTS = "server", "clients"


class TLSError(AlexNetError):
    """A certificate or key that cannot be used."""


@dataclass(frozen=True, slots=True)
class ServerTLS:
    """Files in PEM. Replace them by renaming, as Kubernetes and cert-manager do, and they are read anew."""

    certificate: Path
    key: Path
    #: Who may have signed a caller's certificate; None asks callers for none.
    client_ca: Path | None = None

    def check(self) -> None:
        """Whether they can be used.

        Raises:
            FileError: one cannot be read.
            TLSError: one is no PEM, or the key is another certificate's.
        """
        context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
        for path in (self.certificate, self.key, *([self.client_ca] if self.client_ca else ())):
            with file_errors(path):
                path.read_bytes()
        try:
            context.load_cert_chain(self.certificate, self.key)
        except ssl.SSLError as error:
            raise TLSError(
                f"{self.certificate} and {self.key} cannot be used ({error.reason or error}): "
                "want a certificate chain and its own private key, both PEM, without a passphrase"
            ) from error
        if self.client_ca:
            try:
                context.load_verify_locations(self.client_ca)
            except ssl.SSLError as error:
                raise TLSError(f"{self.client_ca} cannot be used ({error.reason or error}): want PEM") from error

    def transport_socket(self, folder: Path, protocol: str = "h2") -> dict[str, Any]:
        """Of Envoy's listener.

        Args:
            folder: where :meth:`write` wrote.
            protocol: that is spoken in it, by its name in TLS (ALPN, RFC 7301).
        """
        common: dict[str, Any] = {
            "alpn_protocols": [protocol],
            "tls_params": {"tls_minimum_protocol_version": "TLSv1_2"},
            "tls_certificate_sds_secret_configs": [_secret(folder, _SERVER)],
        }
        if self.client_ca:
            common["validation_context_sds_secret_config"] = _secret(folder, _CLIENTS)
        context = {
            "@type": f"{_TYPE}.DownstreamTlsContext",
            "common_tls_context": common,
            "require_client_certificate": self.client_ca is not None,
        }
        return {"name": "envoy.transport_sockets.tls", "typed_config": context}

    def write(self, folder: Path) -> None:
        """Say where the files are; what is watched is the folder that each is in."""
        pair = {
            "certificate_chain": {"filename": str(self.certificate.absolute())},
            "private_key": {"filename": str(self.key.absolute())},
            "watched_directory": {"path": str(self.certificate.absolute().parent)},
        }
        secrets: dict[str, dict[str, Any]] = {_SERVER: {"tls_certificate": pair}}
        if self.client_ca:
            trusted = {
                "trusted_ca": {"filename": str(self.client_ca.absolute())},
                "watched_directory": {"path": str(self.client_ca.absolute().parent)},
            }
            secrets[_CLIENTS] = {"validation_context": trusted}
        for name, secret in secrets.items():
            with atomic_path(_file(folder, name)) as partial:
                partial.write_text(json.dumps({"resources": [{"@type": f"{_TYPE}.Secret", "name": name, **secret}]}))


def _file(folder: Path, name: str) -> Path:
    return folder / f"tls-{name}.json"


def _secret(folder: Path, name: str) -> dict[str, Any]:
    source = {"path_config_source": {"path": str(_file(folder, name))}, "resource_api_version": "V3"}
    return {"name": name, "sds_config": source}
