"""What the watcher decides, on a server that only writes down what it was told."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable

import pytest

from deploy.serve.process import ServerError
from deploy.serve.times import Times
from deploy.serve.watch import Watcher

QUICK = Times(watch=0.001, backoff=(0.0, 0.001, 0.001))


class Server:
    """A server whose state a test sets."""

    def __init__(self) -> None:
        self.alive = True
        self.outdated = False
        self.dead: list[str] = []
        self.told: list[str] = []
        self.starts = True

    def dead_models(self) -> list[str]:
        return self.dead

    def launch(self) -> None:
        self.told.append("launch")
        if not self.starts:
            raise ServerError("it does not start")
        self.alive = True

    def end(self) -> None:
        self.told.append("end")
        self.alive = False

    def revive(self, models: list[str]) -> None:
        self.told.append(f"revive {' '.join(models)}")
        self.dead = []

    def reload(self) -> None:
        self.told.append("reload")
        self.outdated = False


def watched(server: Server, until: Callable[[Watcher], bool], times: Times = QUICK) -> Watcher:
    """Watch a server until something holds, for ten seconds at most."""
    stopping = threading.Event()
    watcher = Watcher(server, times, stopping)
    watcher.start()
    deadline = time.monotonic() + 10
    try:
        while not until(watcher):
            assert time.monotonic() < deadline, server.told
            time.sleep(0.001)
    finally:
        stopping.set()
        watcher.join()
    return watcher


def test_a_dead_server_is_ended_in_order_before_it_is_started_again() -> None:
    server = Server()
    server.alive = False
    assert not watched(server, lambda _: server.alive).gave_up
    assert server.told == ["end", "launch"]


def test_models_with_a_dead_process_are_brought_back_before_a_release_is_taken_up() -> None:
    server = Server()
    server.dead, server.outdated = ["alexnet_fp32", "alexnet_int8"], True
    watched(server, lambda _: not server.outdated)
    assert server.told == ["revive alexnet_fp32 alexnet_int8", "reload"]


def test_a_server_that_does_not_start_is_given_up_after_as_many_tries_as_there_are_waits() -> None:
    server = Server()
    server.alive, server.starts = False, False
    assert watched(server, lambda watcher: watcher.gave_up).gave_up
    assert server.told.count("launch") == len(QUICK.backoff)
    assert server.told[-1] == "end"


def test_a_server_that_was_sound_between_its_deaths_is_never_given_up() -> None:
    server = Server()

    def killed_again(_: Watcher) -> bool:
        server.alive = False
        return server.told.count("launch") > 2 * len(QUICK.backoff)

    assert not watched(server, killed_again, Times(watch=0.001, backoff=QUICK.backoff, sound=0.0)).gave_up


def test_a_bug_is_not_taken_for_a_dead_server() -> None:
    server = Server()
    server.outdated = True
    stopping = threading.Event()
    watcher = Watcher(server, QUICK, stopping)

    def reload() -> None:
        raise KeyError("a bug")

    server.reload = reload  # type: ignore[method-assign]
    with pytest.raises(KeyError, match="a bug"):
        watcher._look()
    assert server.told == []
