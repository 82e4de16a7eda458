"""What a client is told once, checked where it is told."""

from __future__ import annotations

import ipaddress
import math
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from enum import Enum
from numbers import Real
from typing import Any, Final, Literal, Union

from alexnet_client._errors import InvalidRequest
from alexnet_client._request import takes_files
from alexnet_client._retry import Retry
from alexnet_client._tls import TLS
from alexnet_client.contract import DEFAULT_MODEL

DEFAULT_URL = "127.0.0.1:8001"
DEFAULT_TIMEOUT = 5.0
#: Seconds. gRPC's clock overflows at 2**63 ns, and such a deadline has passed at once; more than a day is a slip.
MAX_TIMEOUT = 24 * 60 * 60.0
_DNS = "dns:///"
_URL = re.compile(r"(?P<host>\[[0-9A-Fa-f:.]+\]|[^\s\[\]:/,]+):(?P<port>[0-9]{1,5})")
_PORTS = range(1, 2**16)
_METADATA = re.compile(r"[0-9a-z_.-]+")
_WANTED = f"want host:port of the gRPC endpoint, such as {DEFAULT_URL!r}, several of them, or {_DNS}NAME:PORT"


class Omitted(Enum):
    """The argument was not given: the client's own value holds. ``None`` is a value: for ever."""

    OMITTED = "omitted"

    def __repr__(self) -> str:
        return "OMITTED"


OMITTED: Final = Omitted.OMITTED
#: Seconds, None for ever, or the client's own.
Timeout = Union[float, None, Literal[Omitted.OMITTED]]  # noqa: UP007  at run time, on Python 3.10 too


@dataclass(frozen=True)
class Options:
    """Which model of which servers is asked, for how long, and how often.

    Raises:
        InvalidRequest: one of them cannot be meant.
    """

    #: ``host:port``; several, of replicas; or ``dns:///name:port``, all whose addresses are replicas.
    url: str | Sequence[str]
    model: str
    #: Seconds a call, or None.
    timeout: float | None
    retry: Retry = field(default_factory=Retry)
    #: Sent along with each call.
    metadata: Mapping[str, str] = field(default_factory=dict, repr=False)
    tls: TLS | None = None
    #: How the ids of its requests begin; as no other client's do, if it is empty.
    id_prefix: str = ""
    #: Whether pixels go through memory that the server maps, too.
    shared_memory: bool = False

    def __post_init__(self) -> None:
        if not isinstance(self.url, (str, list, tuple)) or not self.url:
            raise InvalidRequest(f"url is {self.url!r}: {_WANTED}")
        for url in self.urls:
            _check_url(url)
        if len(self.urls) > 1 and len({_family(url) for url in self.urls}) > 1:
            raise InvalidRequest(f"url is {self.url!r}: want addresses of one kind, all IPv4 or all IPv6")
        if not isinstance(self.model, str) or not self.model:
            raise InvalidRequest(f"model is {self.model!r}: want a model's name, such as {DEFAULT_MODEL!r}")
        check_timeout(self.timeout)
        if not isinstance(self.retry, Retry):
            raise InvalidRequest(f"retry is {self.retry!r}: want a Retry(attempts=..., backoff=...)")
        if self.tls is not None and not isinstance(self.tls, TLS):
            raise InvalidRequest(f"tls is a {type(self.tls).__name__}: want TLS(ca=..., certificate=..., key=...)")
        if self.shared_memory:
            self._check_neighbour()
        for key, value in self.metadata.items():
            if not isinstance(key, str) or not _METADATA.fullmatch(key) or key.startswith("grpc-"):
                raise InvalidRequest(f"metadata has the key {key!r}: want lower-case letters, digits and . _ -")
            if not isinstance(value, str) or not value.isascii() or not value.isprintable():
                raise InvalidRequest(f"metadata's {key!r} has a value that cannot be sent: want printable ASCII")

    @property
    def urls(self) -> list[str]:
        """Each of them."""
        return self.url.split(",") if isinstance(self.url, str) else list(self.url)

    @property
    def name(self) -> str:
        """Of the servers, for messages."""
        return ",".join(self.urls)

    @property
    def target(self) -> str:
        """As gRPC names them (doc/naming.md)."""
        return f"{_family(self.urls[0])}:{self.name}" if len(self.urls) > 1 else self.urls[0]

    @property
    def balanced(self) -> bool:
        """Whether there may be several servers."""
        return len(self.urls) > 1 or self.name.startswith(_DNS)

    def _check_neighbour(self) -> None:
        if self.balanced or not _is_here(self.urls[0]):
            raise InvalidRequest(
                f"shared_memory is for one server on this machine, and url is {self.name!r}: want localhost or a "
                f"loopback address, such as {DEFAULT_URL!r}, or no shared_memory"
            )
        if takes_files(self.model):
            raise InvalidRequest(
                f"shared_memory is for pixels, and {self.model} is sent files: want a model that takes pixels, or no "
                "shared_memory"
            )

    def call_metadata(self) -> tuple[tuple[str, str], ...]:
        """What is sent along with an attempt."""
        return tuple(self.metadata.items())

    def timeout_of(self, timeout: Timeout) -> float | None:
        """Seconds that a call may take.

        Raises:
            InvalidRequest: it is no such number.
        """
        if timeout is OMITTED:
            return self.timeout
        check_timeout(timeout)
        return timeout


def check_timeout(timeout: Any) -> None:
    """Refuse what is no time to wait.

    Raises:
        InvalidRequest: it is neither seconds nor None.
    """
    if timeout is None:
        return
    if isinstance(timeout, bool) or not isinstance(timeout, Real) or not 0 < float(timeout) < math.inf:
        raise InvalidRequest(f"timeout is {timeout!r}: want seconds, more than 0 and finite, or None for ever")
    if float(timeout) > MAX_TIMEOUT:
        raise InvalidRequest(
            f"timeout is {timeout!r} s: want at most {MAX_TIMEOUT:,.0f}, a day; "
            "a deadline far beyond overflows gRPC's clock and would have passed at once"
        )


def _check_url(url: object) -> None:
    text = url.removeprefix(_DNS) if isinstance(url, str) else ""
    if "://" in text:
        raise InvalidRequest(f"url is {url!r}: want host:port of the gRPC endpoint, without a scheme")
    parts = _URL.fullmatch(text)
    if not parts or int(parts["port"]) not in _PORTS:
        raise InvalidRequest(f"url is {url!r}: {_WANTED}")


def _is_here(url: str) -> bool:
    """Whether it is an address of the machine that asks, whichever that is."""
    host = url.rpartition(":")[0].strip("[]")
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return host == "localhost"


def _family(url: str) -> str:
    """``ipv4`` or ``ipv6``; gRPC takes several servers by address only."""
    host = url.rpartition(":")[0].strip("[]")
    try:
        return f"ipv{ipaddress.ip_address(host).version}"
    except ValueError as error:
        raise InvalidRequest(
            f"url has {url!r} among several: want addresses, such as {DEFAULT_URL!r}, or one {_DNS}NAME:PORT "
            "for all addresses of a name"
        ) from error
