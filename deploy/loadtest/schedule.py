"""What a command line says of when requests come: a process, a rate, and how that changes."""

from __future__ import annotations

import argparse
from dataclasses import dataclass
from itertools import pairwise

import numpy as np
from numpy.typing import NDArray

from deploy.loadtest.arrivals import Profile, arrivals, ramp, spike, steady
from deploy.loadtest.loadtest_error import WrongUsage
from deploy.loadtest.number import NOT_NEGATIVE, POSITIVE, WHOLE

POISSON, CONSTANT, GAMMA, RAMP, SPIKE = KINDS = ("poisson", "constant", "gamma", "ramp", "spike")
#: Where the option is not given: bursts, and times the rate.
BURSTINESS, HEIGHT = 2.0, 3.0
#: The options that only some kinds have.
_OF = {"burstiness": (GAMMA, RAMP, SPIKE), "start": (RAMP,), "height": (SPIKE,)}


@dataclass(frozen=True)
class Schedule:
    """When requests come."""

    profile: Profile
    #: As of :func:`~deploy.loadtest.arrivals.arrivals`.
    burstiness: float
    #: In words: requests come ...
    text: str

    @property
    def rate(self) -> float:
        """Requests a second, on average over its seconds."""
        corners = pairwise(self.profile)
        return sum((end - start) * (first + last) / 2 for (start, first), (end, last) in corners) / self.seconds

    @property
    def seconds(self) -> float:
        """From the start to the end."""
        return self.profile[-1][0]

    @property
    def level(self) -> bool:
        """Whether it ends at the rate at which it began."""
        return self.profile[0][1] == self.profile[-1][1]

    def due(self, seed: int) -> NDArray[np.float64]:
        """Seconds from the start of each request."""
        return arrivals(self.profile, self.burstiness, seed)


def add_options(parser: argparse.ArgumentParser) -> None:
    """Those that :func:`schedule` reads."""
    parser.add_argument(
        "--rate", type=POSITIVE, required=True, metavar="N", help="requests a second; of a ramp, at last"
    )
    parser.add_argument("--arrivals", choices=KINDS, default=POISSON, help="(%(default)s)")
    parser.add_argument(
        "--burstiness", type=NOT_NEGATIVE, metavar="CV", help=f"of the gaps: 1 is Poisson ({BURSTINESS:g})"
    )
    parser.add_argument("--start", type=NOT_NEGATIVE, metavar="N", help="of a ramp, requests a second at first (0)")
    parser.add_argument("--height", type=POSITIVE, metavar="X", help=f"of a spike, times the rate ({HEIGHT:g})")
    parser.add_argument("--seed", type=WHOLE, default=0, help="of everything that is drawn (%(default)s)")


def schedule(options: argparse.Namespace, seconds: float) -> Schedule:
    """Of so many seconds.

    Raises:
        WrongUsage: an option cannot be meant.
    """
    kind: str = options.arrivals
    for name, kinds in _OF.items():
        if getattr(options, name) is not None and kind not in kinds:
            raise WrongUsage(f"--{name} is of {', '.join(kinds)}: leave it out, or give --arrivals one of them")
    rate, burstiness = options.rate, _or(options.burstiness, BURSTINESS if kind == GAMMA else 1.0)
    if kind == CONSTANT:
        return Schedule(steady(rate, seconds), 0.0, f"at an even beat of {rate:g}/s")
    how = "at random times (Poisson)" if burstiness == 1 else f"at random times (gamma, variation {burstiness:g})"
    if kind == RAMP:
        start = _or(options.start, 0.0)
        return Schedule(ramp(start, rate, seconds), burstiness, f"{how} from {start:g}/s to {rate:g}/s")
    if kind == SPIKE:
        height = _or(options.height, HEIGHT)
        text = f"{how} at {rate:g}/s, {height:g} times that in the middle fifth"
        return Schedule(spike(rate, height, seconds), burstiness, text)
    return Schedule(steady(rate, seconds), burstiness, f"{how} at {rate:g}/s")


def _or(value: float | None, default: float) -> float:
    return default if value is None else value
