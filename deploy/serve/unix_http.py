"""HTTP over a Unix socket, for what Envoy and tritonserver tell of themselves."""

from __future__ import annotations

import http.client
import socket
from pathlib import Path


def ask(path: Path, target: str, method: str = "GET", timeout: float = 1.0) -> str:
    """The answer's body.

    Raises:
        OSError: nobody answers at the socket ``path``.
    """
    connection = http.client.HTTPConnection("localhost", timeout=timeout)
    try:
        connection.sock = socket.socket(socket.AF_UNIX)
        connection.sock.settimeout(timeout)
        connection.sock.connect(str(path))
        connection.request(method, target)
        return connection.getresponse().read().decode()
    except http.client.HTTPException as error:
        raise OSError(f"{path} does not speak HTTP: {error}") from error
    finally:
        connection.close()
