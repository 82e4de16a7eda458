"""Who may have been given up does not answer; who was merely slow does."""

from __future__ import annotations

import threading
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from deploy.backends import silence as module
from deploy.backends.silence import Silence
from tests.waiting import wait_until

#: In two thirds of the time.
PERIOD, PATIENCE, LOOK = module.PERIOD / 1.5, module.PATIENCE / 1.5, module.LOOK / 1.5
SHORT, LONG = PATIENCE / 3, PATIENCE + PERIOD


@pytest.fixture(autouse=True)
def quick(monkeypatch: pytest.MonkeyPatch) -> None:
    for name, seconds in (("PERIOD", PERIOD), ("PATIENCE", PATIENCE), ("LOOK", LOOK)):
        monkeypatch.setattr(module, name, seconds)


class Living(threading.Thread):
    """Gives a sign of life every period, while it may."""

    def __init__(self) -> None:
        super().__init__()
        self.may, self.done = threading.Event(), False
        self.may.set()

    def run(self) -> None:
        while not self.done:
            self.may.wait()
            time.sleep(PERIOD)


@pytest.fixture
def living() -> Iterator[Living]:
    thread = Living()
    thread.start()
    yield thread
    thread.done = True
    thread.may.set()
    thread.join()


def looking(living: Living, ends: list[None], config: dict | None = None) -> Silence:
    """One that knows the thread by now."""
    silence = Silence(config, living.native_id, lambda: ends.append(None), niceness=0)
    wait_until(lambda: silence._signs >= module.KNOWN, "signs of life")
    return silence


@pytest.mark.parametrize(
    ("seconds", "alive", "ended"),
    [(SHORT, False, False), (LONG, True, False), (LONG, False, True)],
    ids=["in time", "slow, but alive", "no sign of life"],
)
def test_it_ends_when_it_may_have_been_given_up(living: Living, seconds: float, alive: bool, ended: bool) -> None:
    ends: list[None] = []
    silence = looking(living, ends)
    if not alive:
        living.may.clear()
    with silence.unless_in_time():
        time.sleep(seconds)
    assert bool(ends) is ended


def test_warm_up_is_let_work(living: Living) -> None:
    """A model that is given up in it is not served at all."""
    ends: list[None] = []
    silence = looking(living, ends, {"model_warmup": [{}]})
    living.may.clear()
    for ended in (False, True):
        with silence.unless_in_time():
            time.sleep(LONG)
        assert bool(ends) is ended


def test_another_thread_says_nothing(living: Living) -> None:
    """Another version of Triton may have another thread there, which sleeps for good."""
    living.may.clear()
    ends: list[None] = []
    silence = Silence(None, living.native_id, lambda: ends.append(None), niceness=0)
    for _ in range(2):
        with silence.unless_in_time():
            time.sleep(LONG)
    assert not ends


def test_a_kernel_that_does_not_say_is_let_be(living: Living, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "THREADS", tmp_path)
    ends: list[None] = []
    silence = Silence(None, living.native_id, lambda: ends.append(None), niceness=0)
    living.may.clear()
    with silence.unless_in_time():
        time.sleep(LONG)
    assert not ends


def test_an_error_is_an_answer_too(living: Living) -> None:
    ends: list[None] = []
    silence = looking(living, ends)
    living.may.clear()

    def fail() -> None:
        with silence.unless_in_time():
            time.sleep(LONG)
            raise ValueError("broken")

    with pytest.raises(ValueError, match="broken"):
        fail()
    assert ends


def test_a_gap_while_idle_ends_it_with_the_next_batch(living: Living) -> None:
    """What it was asked may have waited through it all, and been given up."""
    ends: list[None] = []
    silence = looking(living, ends)
    with silence.unless_in_time():
        time.sleep(SHORT)
    living.may.clear()
    time.sleep(LONG)
    living.may.set()
    assert not ends
    with silence.unless_in_time():
        time.sleep(0)
    assert ends


def test_a_gap_before_the_last_answer_does_not_count(living: Living) -> None:
    ends: list[None] = []
    silence = looking(living, ends, {"model_warmup": [{}]})
    living.may.clear()
    with silence.unless_in_time():
        time.sleep(LONG)
    living.may.set()
    time.sleep(PERIOD)
    with silence.unless_in_time():
        time.sleep(SHORT)
    assert not ends
