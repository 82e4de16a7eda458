"""A candidate: the values of a published configuration that may be chosen, and the configuration with others."""

from __future__ import annotations

import difflib
import re
from dataclasses import dataclass

from google.protobuf import text_format
from tritonclient.grpc.model_config_pb2 import ModelConfig

from deploy.loadtest.loadtest_error import LoadTestError, WrongUsage

#: Where each value stands in the text, which keeps its comments.
PLACES = {
    "delay": re.compile(r"(?<=max_queue_delay_microseconds: )\d+"),
    "instances": re.compile(r"(?<=instance_group \[ \{ count: )\d+"),
}
#: What a configuration may say as well, and why it is not searched.
FIXED = {
    "one instance": "with a queue policy Triton's batcher sleeps up to 500 ms when its only instance is busy (24.10)",
    "ONNX Runtime's threads": "the instances take turns, each on all cores, and it is that session that was proved; "
    "a cpuset around the server gives it fewer",
    "max_queue_size": "it refuses and speeds nothing up, and before it is full the door lets nobody in",
    "max_batch_size": "requests of so many images are promised by the contract",
    "preferred_batch_size": "it holds back what is there for what may come, as the delay does, which is searched",
}


@dataclass(frozen=True, slots=True)
class Candidate:
    """Values to try."""

    #: ``max_queue_delay_microseconds``: how long a request may wait for company while an instance is free.
    delay: int
    #: ``instance_group``'s ``count``.
    instances: int

    def __post_init__(self) -> None:
        """Refuse what the design excludes.

        Raises:
            WrongUsage: says why.
        """
        if self.delay < 0:
            raise WrongUsage(f"delay is {self.delay}: want 0 microseconds or more")
        if self.instances < 2:
            raise WrongUsage(f"instances is {self.instances}: want 2 or more, {FIXED['one instance']}")

    def __str__(self) -> str:
        return f"delay {self.delay} µs, {self.instances} instances"


def published(config: str) -> Candidate:
    """What a configuration has.

    Raises:
        LoadTestError: it has no batcher's delay or count of instances, or several.
    """
    got = _parse(config)
    groups = [group.count for group in got.instance_group]
    for name, pattern in PLACES.items():
        if len(pattern.findall(config)) != 1:
            raise LoadTestError(f"the configuration of {got.name} does not say its {name} once: want {pattern.pattern}")
    return Candidate(got.dynamic_batching.max_queue_delay_microseconds, groups[0])


def configured(config: str, candidate: Candidate) -> str:
    """The same configuration with a candidate's values, comments and all.

    Raises:
        LoadTestError: as :func:`published`.
    """
    published(config)
    for name, pattern in PLACES.items():
        config = pattern.sub(str(getattr(candidate, name)), config)
    if published(config) != candidate:
        raise LoadTestError(f"{candidate} cannot be written into the configuration of {_parse(config).name}")
    return config


def diff(config: str, candidate: Candidate, name: str) -> str:
    """What a candidate changes, as a unified diff."""
    before, after = (text.splitlines(keepends=True) for text in (config, configured(config, candidate)))
    return "".join(difflib.unified_diff(before, after, f"{name} (published)", f"{name} ({candidate})"))


def _parse(config: str) -> ModelConfig:
    try:
        return text_format.Parse(config, ModelConfig())
    except text_format.ParseError as error:
        raise LoadTestError(f"this is no model configuration ({error}): publish again") from error
