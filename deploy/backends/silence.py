"""A backend process that Triton may have given up does not speak again.

Triton 24.10 gives a process up when it waits for its answer and sees no sign of life for a second. A thread beside the
model gives one every 0.3 s; where processors are short, it may come too late while the model works on. Triton has then
answered the batch with an error, and would take the answer, when it comes, for that to the next batch.
"""

import os
import threading
import time
from contextlib import contextmanager, suppress
from pathlib import Path

#: Seconds: Triton's patience, less what it takes to hand an answer over.
PATIENCE = 0.9
#: Seconds between two looks at the thread that gives the signs of life.
LOOK = 0.1
THREADS = Path("/proc/self/task")


class Silence:
    """Ends this process in place of an answer that may come too late; to be made first, by the thread that answers."""

    def __init__(self, living=None, end=lambda: os._exit(1)):
        """Look at the thread from now on.

        Args:
            living: native id of the thread that gives the signs of life; Triton's own by default.
            end: what ends the process.
        """
        self._me = threading.get_native_id()
        self._living = living or _next(self._me)
        self._end = end
        self._lock = threading.Lock()
        self._looked, self._runs = time.monotonic(), _runs(self._living)
        #: When it ran last, at the earliest; and the longest that it may not have run, since the last answer.
        self._ran, self._longest = self._looked, 0.0
        self._waited = _waited(self._me)
        threading.Thread(target=self._watch, name="silence", daemon=True).start()

    @contextmanager
    def unless_in_time(self):
        """Around the work on a batch: here the process ends if Triton may not wait for the answer any more."""
        # This thread may have waited for a processor with the batch in hand.
        started = time.monotonic() - (_waited(self._me) - self._waited)
        try:
            yield
        finally:
            with self._lock:
                self._look()
                longest, self._longest = self._longest, 0.0
            self._waited = _waited(self._me)
            if longest > PATIENCE and time.monotonic() - started > PATIENCE:
                said = f"no sign of life for {longest:.1f} s: Triton may have given this process up, so it ends"
                print(said, flush=True)  # noqa: T201  to the server's log
                self._end()

    def _watch(self):
        with suppress(FileNotFoundError):  # when the thread ends, so does this process
            while True:
                time.sleep(LOOK)
                with self._lock:
                    self._look()

    def _look(self):
        now, runs = time.monotonic(), _runs(self._living)
        self._longest = max(self._longest, now - self._ran)
        if runs != self._runs:
            self._runs, self._ran = runs, self._looked
        self._looked = now


def _next(thread):
    """The thread that was started after this one, as Triton starts the one in question; numbers may begin anew."""
    others = (int(each.name) for each in THREADS.iterdir() if int(each.name) != thread)
    return min(others, key=lambda each: (each < thread, each))


def _runs(thread):
    """How often it was given a processor; see the kernel's Documentation/scheduler/sched-stats.rst."""
    return _statistics(thread)[2]


def _waited(thread):
    """Seconds that it waited for a processor."""
    return _statistics(thread)[1] / 1e9


def _statistics(thread):
    return [int(number) for number in (THREADS / str(thread) / "schedstat").read_text().split()]
