"""Deadlines that no answer of this server can keep: who has one is told at once, and nobody works for it.

A caller whose deadlines are shorter than the fastest answer costs as much as one who waits, and takes it from those who
do. The deadline stands in a request's headers (``grpc-timeout``: at most eight digits and a unit, in gRPC's protocol),
so the door can tell before it has the body.
"""

from __future__ import annotations

#: Deadlines that are told apart, in microseconds.
STEPS = tuple(digit * 10**zeros for zeros in range(3, 6) for digit in (1, 2, 5))


def key(step: int) -> str:
    """Of Envoy's runtime: in percent, 0 or 100, whether deadlines up to this one are refused."""
    return f"haste.{step}"


def refused(fastest: float) -> dict[str, int]:
    """What :func:`key` is of each step.

    Args:
        fastest: seconds of the fastest answer; 0 while there was none.
    """
    return {key(step): 100 * (step < fastest * 1e6) for step in STEPS}


def shorter(step: int) -> str:
    """The expression (RE2) for a ``grpc-timeout`` of at most so many microseconds."""
    ways = [r"[0-9]+n"]
    for unit, most in (("u", step), ("m", step // 1000)):
        digit, zeros = int(str(most)[0]), len(str(most)) - 1
        if zeros:
            ways.append(f"[0-9]{{1,{zeros}}}{unit}")
        if digit > 1:
            ways.append(f"[1-{digit - 1}][0-9]{{{zeros}}}{unit}")
        ways.append(f"{most}{unit}")
    return "|".join(ways)
