"""A candidate's configuration is the published one with its values and nothing else, comments included."""

from __future__ import annotations

from dataclasses import replace

import pytest
from google.protobuf import text_format
from tritonclient.grpc.model_config_pb2 import ModelConfig

from deploy.loadtest.configure.candidate import Candidate, configured, diff, published
from deploy.loadtest.loadtest_error import LoadTestError
from export.release import configuration

CONFIG = configuration("alexnet_int8", 10, "int8")


def parsed(config: str) -> ModelConfig:
    return text_format.Parse(config, ModelConfig())


def test_the_values_are_those_that_triton_reads() -> None:
    got = parsed(CONFIG)
    assert published(CONFIG) == Candidate(
        got.dynamic_batching.max_queue_delay_microseconds, got.instance_group[0].count
    )


@pytest.mark.parametrize("candidate", [Candidate(0, 2), Candidate(250, 3), Candidate(5_000_000, 16)])
def test_triton_reads_the_candidates_values_and_all_else_as_it_was(candidate: Candidate) -> None:
    wanted = parsed(CONFIG)
    wanted.dynamic_batching.max_queue_delay_microseconds = candidate.delay
    wanted.instance_group[0].count = candidate.instances
    got = configured(CONFIG, candidate)
    assert parsed(got) == wanted
    assert len(got.splitlines()) == len(CONFIG.splitlines())


def test_the_diff_shows_what_changes() -> None:
    was = published(CONFIG)
    lines = diff(CONFIG, replace(was, delay=4321), "alexnet_int8/config.pbtxt").splitlines()
    assert lines[0].startswith("--- alexnet_int8/config.pbtxt")
    changed = [line for line in lines[2:] if line[0] in "+-"]
    assert changed == [
        f"-  max_queue_delay_microseconds: {was.delay}",
        "+  max_queue_delay_microseconds: 4321",
    ]
    assert diff(CONFIG, was, "same") == ""


@pytest.mark.parametrize(
    ("values", "why"), [((0, 1), "sleeps up to 500 ms"), ((0, 0), "want 2 or more"), ((-1, 2), "delay is -1")]
)
def test_what_the_design_excludes_is_refused(values: tuple[int, int], why: str) -> None:
    with pytest.raises(LoadTestError, match=why):
        Candidate(*values)


@pytest.mark.parametrize(
    ("config", "why"),
    [
        ("no configuration {", "is no model configuration"),
        ('name: "alexnet_int8"', "does not say its delay once"),
        (CONFIG.replace("count: 2", "count: 2 count: 2"), "is no model configuration"),
    ],
)
def test_a_configuration_that_cannot_be_edited_is_refused(config: str, why: str) -> None:
    with pytest.raises(LoadTestError, match=why):
        configured(config, Candidate(0, 2))
