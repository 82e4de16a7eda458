"""A backend process that Triton may have given up does not speak again.

Triton 24.10 gives a process up when it waits for its answer and sees no sign of life for a second. A thread beside the
model gives one every 0.3 s; where processors are short, it may come too late while the model works on. Triton has then
answered the batch with an error, and would take the answer, when it comes, for that to the next batch. So does the
process that had nothing to do: it finds what it was asked meanwhile, and cannot tell since when that waits. So any gap
since the last answer ends it. What is left is the moment between that look and Triton's queue, which no clock closes:
answers carry checksums (``alexnet_client/checksum.py``).
"""

import os
import threading
import time
from contextlib import contextmanager, suppress
from pathlib import Path

#: Seconds between two signs of life, at least; and Triton's patience, less what it takes to hand an answer over.
PERIOD, PATIENCE = 0.3, 0.9
#: Seconds between two looks at the thread that gives the signs of life.
LOOK = 0.1
#: Signs of life after which the thread is known to be the one: another version of Triton may have another first.
KNOWN = 3
#: Of what computes.
NICENESS = 5
THREADS = Path("/proc/self/task")


class Silence:
    """Ends this process in place of an answer that may come too late; to be made first, by the thread that answers."""

    def __init__(self, config=None, living=None, end=lambda: os._exit(1), niceness=NICENESS):
        """Look at the thread from now on.

        Args:
            config: the model's, as Triton hands it over. Warm-up is let work: who is given up in it never serves.
            living: native id of the thread that gives the signs of life; Triton's own by default.
            end: what ends the process.
            niceness: more of it, for this thread and all that it starts from now on.
        """
        self._me = threading.get_native_id()
        self._end = end
        self._warmups = len((config or {}).get("model_warmup", ()))
        self._lock = threading.Lock()
        try:
            self._living = living or _next(self._me)
            self._sleeps = _sleeps(self._living)
        except (OSError, IndexError, ValueError):  # a kernel that does not say
            self._living = None
            return
        self._signs, self._looked = 0, time.monotonic()
        #: When it was there last, at the earliest; and the longest that it may not have been, since the last answer.
        self._ran, self._longest = self._looked, 0.0
        threading.Thread(target=self._watch, name="silence", daemon=True).start()
        # What computes yields to both, and to tritonserver.
        os.setpriority(os.PRIO_PROCESS, self._me, os.getpriority(os.PRIO_PROCESS, self._me) + niceness)

    @contextmanager
    def unless_in_time(self):
        """Around the work on a batch: here the process ends if Triton may not wait for the answer any more."""
        if self._living is None:
            yield
            return
        try:
            yield
        finally:
            with self._lock:
                self._look()
                longest, self._longest = self._longest, 0.0
            if self._warmups > 0:
                self._warmups, self._ran = self._warmups - 1, time.monotonic()
            elif self._signs >= KNOWN and longest > PATIENCE:
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
        now, sleeps = time.monotonic(), _sleeps(self._living)
        self._signs += sleeps - self._sleeps
        more = max(0, sleeps - self._sleeps - 1) * PERIOD  # when this thread is late, it was there several times
        self._longest = max(self._longest, now - self._ran - more)
        if sleeps != self._sleeps:
            self._sleeps, self._ran = sleeps, self._looked + more
        self._looked = now


def _next(thread):
    """The thread that was started after this one, as Triton starts the one in question; numbers may begin anew."""
    others = (int(each.name) for each in THREADS.iterdir() if int(each.name) != thread)
    return min(others, key=lambda each: (each < thread, each))


def _sleeps(thread):
    """How often it went to sleep, which is after every sign of life."""
    status = (THREADS / str(thread) / "status").read_text()
    return int(status.partition("\nvoluntary_ctxt_switches:")[2].split()[0])
