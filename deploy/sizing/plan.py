"""What a target takes: replicas, devices, network, money."""

from __future__ import annotations

import math
from dataclasses import dataclass

from alexnet_client.contract import EMBEDDING_LENGTH, IMAGE
from deploy.sizing.erlang import staffing
from deploy.sizing.replica import Replica
from deploy.sizing.sizing_error import SizingError

#: Of a request of one image, and its embedding as FP32; gRPC and Triton add some hundred bytes.
REQUEST_BYTES, ANSWER_BYTES = math.prod(IMAGE.shape), 4 * EMBEDDING_LENGTH


@dataclass(frozen=True)
class Target:
    """What is wanted."""

    #: Requests a second, and seconds.
    rate: float
    p99: float
    #: Replicas beyond those that the rate takes: for one that fails, or a rolling update.
    spare: int = 0
    request_bytes: int = REQUEST_BYTES

    def __post_init__(self) -> None:
        if not (0 < self.rate < math.inf and 0 < self.p99 < math.inf and self.spare >= 0 and self.request_bytes > 0):
            raise SizingError(
                f"got {self.rate:g} a second, p99 {1000 * self.p99:g} ms, {self.spare} spare and {self.request_bytes} "
                "bytes a request: want a rate, a p99 and a size above 0, and no fewer than 0 spare"
            )


@dataclass(frozen=True)
class Plan:
    """What it takes."""

    #: Requests a second and replica that keep the target.
    rate_each: float
    replicas: int
    #: Were every batch full, and no request to wait: no fewer will do.
    floor: int
    #: The same, so that one call in a hundred waits, were there one queue before them all (square-root staffing).
    pooled: int
    #: Cores, or GPUs.
    devices: float
    #: Gbit/s into all replicas, out of them, and into each.
    gigabits_in: float
    gigabits_out: float
    gigabits_each: float
    #: A replica's cost an hour, times replicas; and for a million requests at the target's rate.
    cost_an_hour: float
    cost_a_million: float


def plan(replica: Replica, target: Target, *, devices_each: float = 1.0, cost_each: float = 0.0) -> Plan:
    """Replicas for a target, each sent a Poisson process of an even share: balancing at random; better needs no more.

    Args:
        devices_each: cores or GPUs a replica.
        cost_each: a replica's, an hour.

    Raises:
        SizingError: no number of replicas keeps the target.
    """
    if devices_each <= 0 or cost_each < 0:
        raise SizingError(f"a replica of {devices_each:g} devices for {cost_each:g} an hour: want some, for 0 or more")
    each = replica.rate_under(target.p99)
    replicas = math.ceil(target.rate / each) + target.spare
    load = target.rate / replica.service.capacity
    to_gigabits = target.rate * 8 / 1e9
    return Plan(
        each,
        replicas,
        math.ceil(load),
        staffing(load, waiting=0.01),
        replicas * devices_each,
        to_gigabits * target.request_bytes,
        to_gigabits * ANSWER_BYTES,
        to_gigabits * target.request_bytes / replicas,
        replicas * cost_each,
        replicas * cost_each / (target.rate * 3600) * 1e6,
    )
