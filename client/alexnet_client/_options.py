"""What a client is told once, checked where it is told."""

from __future__ import annotations

import math
import re
from dataclasses import dataclass
from numbers import Real

from alexnet_client._errors import InvalidRequest
from alexnet_client.contract import DEFAULT_MODEL

DEFAULT_URL = "127.0.0.1:8001"
DEFAULT_TIMEOUT = 5.0
#: Seconds. gRPC's clock overflows at 2**63 ns, and such a deadline has passed at once; more than a day is a slip.
MAX_TIMEOUT = 24 * 60 * 60.0
_URL = re.compile(r"(?P<host>\[[0-9A-Fa-f:.]+\]|[^\s\[\]:/]+):(?P<port>[0-9]{1,5})")
_PORTS = range(1, 2**16)


@dataclass(frozen=True)
class Options:
    """Which model of which server is asked, and for how long.

    Raises:
        InvalidRequest: one of them cannot be meant.
    """

    #: ``host:port``.
    url: str
    model: str
    #: Seconds.
    timeout: float

    def __post_init__(self) -> None:
        if isinstance(self.url, str) and "://" in self.url:
            raise InvalidRequest(f"url is {self.url!r}: want host:port of the gRPC endpoint, without a scheme")
        parts = _URL.fullmatch(self.url) if isinstance(self.url, str) else None
        if not parts or int(parts["port"]) not in _PORTS:
            raise InvalidRequest(f"url is {self.url!r}: want host:port of the gRPC endpoint, such as {DEFAULT_URL!r}")
        if not isinstance(self.model, str) or not self.model:
            raise InvalidRequest(f"model is {self.model!r}: want a model's name, such as {DEFAULT_MODEL!r}")
        if isinstance(self.timeout, bool) or not isinstance(self.timeout, Real) or not math.isfinite(self.timeout):
            raise InvalidRequest(f"timeout is {self.timeout!r}: want seconds, more than 0 and finite")
        if self.timeout <= 0:
            raise InvalidRequest(f"timeout is {self.timeout!r}: want seconds, more than 0 and finite")
        if self.timeout > MAX_TIMEOUT:
            raise InvalidRequest(
                f"timeout is {self.timeout!r} s: want at most {MAX_TIMEOUT:,.0f}, a day; "
                "a deadline far beyond overflows gRPC's clock and would have passed at once"
            )
