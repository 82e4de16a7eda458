"""Instances of a model compute one after the other, in real processes, also when one of them is killed."""

from __future__ import annotations

import os
import select
import subprocess
import sys
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path

import pytest

from deploy.serve import processes

INSTANCE = """
import sys
from deploy.backends.turns import Turns
turns = Turns(sys.argv[1])
with turns.mine():
    print("mine", flush=True)
    sys.stdin.readline()
print("done", flush=True)
sys.stdin.readline()
"""


@pytest.fixture
def instances() -> Iterator[list[subprocess.Popen[str]]]:
    """Two instances of one model and, last, one of another; children of this process as Triton's are of it."""
    with ExitStack() as stack:
        started = []
        for model in ("one", "one", "other"):
            command = [sys.executable, "-c", INSTANCE, model]
            root = Path(__file__).parents[4]
            process = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, cwd=root)
            stack.enter_context(process)
            stack.callback(process.kill)
            started.append(process)
            if model != "one" or len(started) == 1:
                assert said(process) == "mine\n"
        yield started
    for model in ("one", "other"):  # and nothing else of this process: a server of other tests may be its own
        processes.lock_file(os.getpid(), model).unlink(missing_ok=True)


def said(process: subprocess.Popen[str], seconds: float = 10) -> str:
    """The next line of a process; nothing when there is none in time."""
    assert process.stdout is not None
    return process.stdout.readline() if select.select([process.stdout], [], [], seconds)[0] else ""


def end_turn(process: subprocess.Popen[str]) -> None:
    assert process.stdin is not None
    process.stdin.write("\n")
    process.stdin.flush()


def test_the_second_of_a_model_waits_for_the_first_and_another_model_does_not(
    instances: list[subprocess.Popen[str]],
) -> None:
    first, second, _ = instances
    assert said(second, 0.5) == ""
    end_turn(first)
    assert said(first) == "done\n"
    assert said(second) == "mine\n"


def test_a_killed_instance_gives_up_its_turn(instances: list[subprocess.Popen[str]]) -> None:
    first, second, _ = instances
    first.kill()
    assert said(second) == "mine\n"
