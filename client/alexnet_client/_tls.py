"""Who the server must prove to be, and who this client is."""

from __future__ import annotations

import os
from collections.abc import Mapping
from dataclasses import dataclass, fields
from pathlib import Path

import grpc

from alexnet_client._errors import InvalidRequest
from alexnet_client.files import file_errors

#: Of the variables of the environment.
PREFIX = "ALEXNET_TLS_"
_PEM = b"-----BEGIN "


@dataclass(frozen=True)
class TLS:
    """Files in PEM. With none of them the server's certificate must be signed by one of gRPC's own roots.

    Raises:
        InvalidRequest: of certificate and key there is one.
    """

    #: Who may have signed the server's certificate.
    ca: str | os.PathLike[str] | None = None
    #: This client's, for servers that ask (mTLS): its chain, and its private key.
    certificate: str | os.PathLike[str] | None = None
    key: str | os.PathLike[str] | None = None
    #: The name in the server's certificate, where the address is not it.
    server_name: str | None = None

    def __post_init__(self) -> None:
        if (self.certificate is None) != (self.key is None):
            raise InvalidRequest("tls has a certificate or a key without the other: give both, or neither")

    @classmethod
    def from_environment(cls, environment: Mapping[str, str] = os.environ) -> TLS | None:
        """From ``ALEXNET_TLS_CA``, ``_CERTIFICATE``, ``_KEY`` and ``_SERVER_NAME``; None if none is set.

        Raises:
            InvalidRequest: as the class.
        """
        given = {field.name: environment.get(PREFIX + field.name.upper()) for field in fields(cls)}
        given = {name: value for name, value in given.items() if value}
        return cls(**given) if given else None

    def credentials(self) -> grpc.ChannelCredentials:
        """As gRPC has them; the files are read now.

        Raises:
            FileError: one cannot be read.
            InvalidRequest: one is not PEM.
        """
        return grpc.ssl_channel_credentials(
            root_certificates=_read(self.ca), private_key=_read(self.key), certificate_chain=_read(self.certificate)
        )


def _read(file: str | os.PathLike[str] | None) -> bytes | None:
    if file is None:
        return None
    path = Path(file)
    with file_errors(path):
        data = path.read_bytes()
    if _PEM not in data:
        raise InvalidRequest(f"{path} is not PEM: want a file with {_PEM.decode()}... in it")
    return data
