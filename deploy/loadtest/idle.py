"""How idle the cores were while something ran."""

from __future__ import annotations

from types import TracebackType
from typing import Self

import psutil


class Idle:
    """A window of time; ``share`` afterwards is that of all cores' time that nobody used, 0 to 1."""

    share = 0.0

    def __enter__(self) -> Self:
        self._before = psutil.cpu_times()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        spent = [after - before for after, before in zip(psutil.cpu_times(), self._before, strict=True)]
        by_name = dict(zip(self._before._fields, spent, strict=True))
        # Time that a virtual machine's guests use is part of its owner's already.
        total = sum(seconds for name, seconds in by_name.items() if not name.startswith("guest"))
        self.share = by_name["idle"] / total if total > 0 else 0.0
