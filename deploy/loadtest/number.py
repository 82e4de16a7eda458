"""The numbers that options take: types for ``argparse``, which refuses others in a line that says what is wanted."""

from __future__ import annotations

import argparse
import math
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass
from typing import Generic, TypeVar

N = TypeVar("N", int, float)


@dataclass(frozen=True)
class Number(Generic[N]):
    """Those that fit."""

    kind: Callable[[str], N]
    fits: Callable[[N], bool]
    #: In words.
    wanted: str

    def __call__(self, text: str) -> N:
        """Read one."""
        with suppress(ValueError):
            number = self.kind(text)
            if self.fits(number):
                return number
        raise argparse.ArgumentTypeError(f"got {text!r}: want {self.wanted}")


COUNT = Number(int, lambda number: number >= 1, "a whole number, 1 or more")
WHOLE = Number(int, lambda number: number >= 0, "a whole number, 0 or more")
POSITIVE = Number(float, lambda number: 0 < number < math.inf, "a number that is more than 0 and finite")
NOT_NEGATIVE = Number(float, lambda number: 0 <= number < math.inf, "a number that is 0 or more and finite")
SHARE = Number(float, lambda number: 0 <= number < 1, "a share, from 0 to less than 1")
