"""Who the server must prove to be, and who this client is."""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Any

import grpc

from alexnet_client._errors import InvalidRequest
from alexnet_client.files import file_errors

#: Of the variables of the environment.
PREFIX = "ALEXNET_TLS_"
TOKEN, TOKEN_FILE = "ALEXNET_TOKEN", "ALEXNET_TOKEN_FILE"
_PEM = b"-----BEGIN "


@dataclass(frozen=True)
class TLS:
    """Files in PEM, and a token. Without ``ca`` the server's certificate must be signed by one of gRPC's own roots.

    Raises:
        InvalidRequest: of certificate and key there is one; of the environment's two tokens both.
    """

    #: Who may have signed the server's certificate.
    ca: str | os.PathLike[str] | None = None
    #: This client's, for servers that ask (mTLS): its chain, and its private key.
    certificate: str | os.PathLike[str] | None = None
    key: str | os.PathLike[str] | None = None
    #: The name in the server's certificate, where the address is not it.
    server_name: str | None = None
    #: Sent as ``authorization: Bearer`` (RFC 6750) with each attempt; of a function, what it returns then.
    token: str | Callable[[], str] | None = field(default=None, repr=False)

    def __post_init__(self) -> None:
        if (self.certificate is None) != (self.key is None):
            raise InvalidRequest("tls has a certificate or a key without the other: give both, or neither")

    @classmethod
    def from_environment(cls, environment: Mapping[str, str] = os.environ) -> TLS | None:
        """From ``ALEXNET_TLS_CA``, ``_CERTIFICATE``, ``_KEY`` and ``_SERVER_NAME``; None if none is set.

        The token is ``ALEXNET_TOKEN``, or what the file ``ALEXNET_TOKEN_FILE`` has at each attempt: a pod's is renewed.

        Raises:
            InvalidRequest: as the class.
        """
        names = ("ca", "certificate", "key", "server_name")
        given: dict[str, Any] = {name: environment.get(PREFIX + name.upper()) for name in names}
        given["token"], file = environment.get(TOKEN), environment.get(TOKEN_FILE)
        if given["token"] and file:
            raise InvalidRequest(f"got {TOKEN} and {TOKEN_FILE}: want one of them")
        if file:
            given["token"] = partial(_token, file)
        given = {name: value for name, value in given.items() if value}
        return cls(**given) if given else None

    def credentials(self) -> grpc.ChannelCredentials:
        """As gRPC has them; the files are read now.

        Raises:
            FileError: one cannot be read.
            InvalidRequest: one is not PEM.
        """
        who = grpc.ssl_channel_credentials(
            root_certificates=_read(self.ca), private_key=_read(self.key), certificate_chain=_read(self.certificate)
        )
        if self.token is None:
            return who
        return grpc.composite_channel_credentials(who, grpc.metadata_call_credentials(self._show))

    def _show(self, _: Any, callback: Any) -> None:
        """gRPC's metadata plugin: asked before each attempt, and never where it would be plain text."""
        try:
            token = self.token() if callable(self.token) else self.token
        except Exception as error:  # the call ends with it
            callback((), error)
        else:
            callback((("authorization", f"Bearer {token}"),), None)


def _token(file: str) -> str:
    path = Path(file)
    with file_errors(path):
        return path.read_text().strip()


def _read(file: str | os.PathLike[str] | None) -> bytes | None:
    if file is None:
        return None
    path = Path(file)
    with file_errors(path):
        data = path.read_bytes()
    if _PEM not in data:
        raise InvalidRequest(f"{path} is not PEM: want a file with {_PEM.decode()}... in it")
    return data
