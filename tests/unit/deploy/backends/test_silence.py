"""Who may have been given up does not answer; who was merely slow does."""

from __future__ import annotations

import threading
import time
from collections.abc import Iterator

import pytest

from deploy.backends.silence import PERIOD, Silence


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


@pytest.mark.parametrize(
    ("seconds", "alive", "ended"),
    [(0.3, False, False), (1.2, True, False), (1.2, False, True)],
    ids=["in time", "slow, but alive", "no sign of life"],
)
def test_it_ends_when_it_may_have_been_given_up(living: Living, seconds: float, alive: bool, ended: bool) -> None:
    ends: list[None] = []
    silence = Silence(living.native_id, lambda: ends.append(None), niceness=0)
    if not alive:
        living.may.clear()
    with silence.unless_in_time():
        time.sleep(seconds)
    assert bool(ends) is ended


def test_an_error_is_an_answer_too(living: Living) -> None:
    ends: list[None] = []
    silence = Silence(living.native_id, lambda: ends.append(None), niceness=0)
    living.may.clear()

    def fail() -> None:
        with silence.unless_in_time():
            time.sleep(1.2)
            raise ValueError("broken")

    with pytest.raises(ValueError, match="broken"):
        fail()
    assert ends


def test_what_was_long_ago_does_not_count(living: Living) -> None:
    ends: list[None] = []
    silence = Silence(living.native_id, lambda: ends.append(None), niceness=0)
    living.may.clear()
    time.sleep(1.2)
    living.may.set()
    for _ in range(2):
        with silence.unless_in_time():
            time.sleep(0.1)
    assert not ends
