"""A number that cannot be meant is refused before anything is started, in a line that says what is wanted."""

from __future__ import annotations

import argparse
from collections.abc import Iterator

import pytest

from deploy.loadtest import gpu
from deploy.loadtest.__main__ import _parser, main
from deploy.loadtest.number import Number


@pytest.mark.parametrize(
    ("arguments", "why"),
    [
        (("load", "--processes", "0"), "--processes: got '0': want a whole number, 1 or more"),
        (("load", "--rate", "nan"), "--rate: got 'nan': want a number that is more than 0 and finite"),
        (("load", "--p99", "-1"), "--p99: got '-1': want a number that is more than 0 and finite"),
        (("load", "--wait", "-1"), "--wait: got '-1': want a number that is 0 or more and finite"),
        (("offer", "--rate", "0"), "--rate: got '0': want a number that is more than 0 and finite"),
        (("offer", "--rate", "5", "--batch", "1.5"), "--batch: got '1.5': want a whole number, 1 or more"),
        (("offer", "--rate", "5", "--seed", "-1"), "--seed: got '-1': want a whole number, 0 or more"),
        (("offer", "--rate", "5", "--bad", "1"), "--bad: got '1': want a share, from 0 to less than 1"),
        (("bench", "--rounds", "none"), "--rounds: got 'none': want a whole number, 1 or more"),
        (("soak", "--minutes", "inf"), "--minutes: got 'inf': want a number that is more than 0 and finite"),
    ],
)
def test_a_number_that_cannot_be_meant_is_refused(
    arguments: tuple[str, ...], why: str, capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(SystemExit) as ended:
        main([*arguments])
    assert ended.value.code == 2
    assert capsys.readouterr().err.endswith(f"python -m deploy.loadtest {arguments[0]}: error: argument {why}\n")


def test_the_benchmark_of_a_gpu_refuses_them_as_well(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit):
        gpu.main(["--rounds", "0"])
    assert "argument --rounds: got '0': want a whole number, 1 or more\n" in capsys.readouterr().err


def actions(parser: argparse.ArgumentParser) -> Iterator[argparse.Action]:
    for action in parser._actions:
        if isinstance(action, argparse._SubParsersAction):
            for each in action.choices.values():
                yield from actions(each)
        yield action


def test_every_option_that_takes_a_number_says_which() -> None:
    types = [action.type for action in actions(_parser())]
    assert sum(isinstance(each, Number) for each in types) > 20
    assert not {int, float}.intersection(each for each in types if isinstance(each, type))
