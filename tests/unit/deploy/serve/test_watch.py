"""What the watcher decides, on a server that only writes down what it was told."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable

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
        self.failures: list[Exception] = []

    def trouble(self) -> Trouble | None:
        return Trouble(self.reason) if self.reason else None

    def adjust(self) -> None:
        pass

    def silence(self, trouble: Trouble) -> None:
        self.told.append("silence")

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
    assert server.told == ["silence", "replace", "take up"]


def test_it_never_gives_up_and_waits_ever_longer_up_to_a_bound() -> None:
    server = Server()
    server.reason = "tritonserver died"
    server.failures = [ServerError("it does not start") for _ in range(2 * len(QUICK.backoff))]
    watched(server, lambda: server.reason is None)
    assert server.told == ["silence", "replace"] * (2 * len(QUICK.backoff) + 1)


def test_the_waits_are_those_of_the_times_and_start_anew_after_a_sound_while() -> None:
    server, waited = Server(), []

    class Stopping(threading.Event):
        def wait(self, timeout: float | None = None) -> bool:
            # Who must not speak again has been killed before anything but the next look is waited for.
            assert timeout == 0.5 or server.told[-1] == "silence"
            waited.append(timeout)
            return len(waited) > 8

    server.failures = [ServerError("no")] * 3
    server.reason = "tritonserver died"
    times = Times(watch=0.5, backoff=(0.0, 1.0, 2.0), sound=3600)
    Watcher(server, times, Stopping())._watch()
    assert waited[:8] == [0.5, 0.0, 0.5, 1.0, 0.5, 2.0, 0.5, 2.0]
    waited.clear()
    server.reason = "tritonserver died"
    watcher = Watcher(server, Times(watch=0.5, backoff=(0.0, 1.0), sound=0.0), Stopping())
    watcher._attempts["tritonserver died"] = 5
    watcher._watch()
    assert waited[1] == 0.0
    waited.clear()
    server.reason = "the door died"  # something else, which has nothing to do with it
    watcher = Watcher(server, times, Stopping())
    watcher._attempts["tritonserver died"] = 5
    watcher._watch()
    assert waited[1] == 0.0


def test_a_bug_is_logged_with_its_traceback_and_the_watch_goes_on(caplog) -> None:  # type: ignore[no-untyped-def]
    server = Server()
    server.outdated, server.failures = True, [KeyError("a bug")]
    watched(server, lambda: not server.outdated)
    assert server.told == ["take up", "take up"]
    assert "KeyError: 'a bug'" in caplog.text
