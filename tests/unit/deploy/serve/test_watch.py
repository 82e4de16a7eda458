"""What the watcher decides, on a server that only writes down what it was told."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from contextlib import suppress
from dataclasses import replace

import pytest

from deploy.serve.process import ServerError
from deploy.serve.room import Trouble
from deploy.serve.times import Times
from deploy.serve.watch import Watcher

QUICK = Times(watch=0.001, backoff=(0.0, 0.001, 0.001))


class Server:
    """A server whose state a test sets."""

    def __init__(self) -> None:
        self.reason: str | None = None
        self.outdated = False
        self.told: list[str] = []
        self.silenced: list[str] = []
        self.failures: list[Exception] = []

    def trouble(self) -> Trouble | None:
        return Trouble(self.reason) if self.reason else None

    def adjust(self) -> None:
        pass

    def silence(self, trouble: Trouble) -> None:
        self.silenced.append(trouble.reason)

    def silence_others(self) -> None:
        pass

    def replace(self) -> None:
        self.told.append("replace")
        if self.failures:
            raise self.failures.pop()
        self.reason = None

    def take_up(self) -> None:
        self.told.append("take up")
        if self.failures:
            raise self.failures.pop()
        self.outdated = False


def watched(server: Server, until: Callable[[], bool], times: Times = QUICK) -> None:
    """Watch a server until something holds, for ten seconds at most."""
    stopping = threading.Event()
    watcher = Watcher(server, times, stopping)
    watcher.start()
    deadline = time.monotonic() + 10
    try:
        while not until():
            assert time.monotonic() < deadline, server.told
            time.sleep(0.001)
    finally:
        stopping.set()
        watcher.join()


def test_what_is_broken_is_replaced_before_a_release_is_taken_up() -> None:
    server = Server()
    server.reason, server.outdated = "the backend process of alexnet_int8 died", True
    watched(server, lambda: not server.outdated)
    assert server.told == ["replace", "take up"]


def test_it_never_gives_up_and_waits_ever_longer_up_to_a_bound() -> None:
    server = Server()
    server.reason = "tritonserver died"
    server.failures = [ServerError("it does not start") for _ in range(2 * len(QUICK.backoff))]
    watched(server, lambda: server.reason is None)
    assert server.told == ["replace"] * (2 * len(QUICK.backoff) + 1)


class Stopping(threading.Event):
    """Writes down what is waited for, in no time."""

    def __init__(self) -> None:
        super().__init__()
        self.waited: list[float | None] = []

    def wait(self, timeout: float | None = None) -> bool:
        self.waited.append(timeout)
        return False


def waits(reason: str, times: Times, attempts: dict[str, int], count: int) -> list[float | None]:
    """What is waited before each of so many replacements that fail."""
    server, stopping = Server(), Stopping()
    server.reason, server.failures = reason, [ServerError("no")] * count
    watcher = Watcher(server, times, stopping)
    watcher._attempts.update(attempts)
    for _ in range(count):
        watcher._look()
        with suppress(ServerError):
            watcher._reconcile()
    return stopping.waited


def test_the_waits_are_those_of_the_times_and_start_anew_after_a_sound_while() -> None:
    times = Times(backoff=(0.0, 1.0, 2.0), sound=3600)
    assert waits("tritonserver died", times, {}, 4) == [0.0, 1.0, 2.0, 2.0]
    assert waits("tritonserver died", times, {"tritonserver died": 5}, 1) == [2.0]
    assert waits("tritonserver died", replace(times, sound=0.0), {"tritonserver died": 5}, 1) == [0.0]
    # Something else has nothing to do with it.
    assert waits("the door died", times, {"tritonserver died": 5}, 1) == [0.0]


@pytest.mark.parametrize("busy_with", ["replace", "take_up"])
def test_who_must_not_speak_is_killed_while_something_is_put_in_place(
    busy_with: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It takes seconds, in which a second fault is met as the first was."""
    server, begun, go_on = Server(), threading.Event(), threading.Event()

    def slowly() -> None:
        begun.set()
        assert go_on.wait(10)
        server.reason, server.outdated = None, False

    monkeypatch.setattr(server, busy_with, slowly)
    server.reason = "alexnet_fp32 died" if busy_with == "replace" else None
    server.outdated = busy_with == "take_up"

    def met() -> bool:
        if begun.is_set():
            server.reason = "alexnet_int8 is stopped"
        if "alexnet_int8 is stopped" in server.silenced:
            go_on.set()
        return go_on.is_set()

    watched(server, met)


def test_a_bug_is_logged_with_its_traceback_and_the_watch_goes_on(caplog) -> None:  # type: ignore[no-untyped-def]
    server = Server()
    server.outdated, server.failures = True, [KeyError("a bug")]
    watched(server, lambda: not server.outdated)
    assert server.told == ["take up", "take up"]
    assert "KeyError: 'a bug'" in caplog.text
