"""Processes that decode images end with the one they work for, however that ends."""

import signal
import subprocess
import sys
from pathlib import Path

import psutil
import pytest

from tests.conftest import environment
from tests.waiting import PATIENCE

READING = """
import multiprocessing
import signal
from tests.patterns import Patterns
from training.data.batches import batches

if __name__ == "__main__":
    signal.signal(signal.SIGINT, signal.default_int_handler)  # a shell's background job ignores it
    reading = batches(Patterns(100_000), 1, workers=2)
    next(reading)
    try:
        print(*(worker.pid for worker in multiprocessing.active_children()), flush=True)
        for _ in reading:
            pass
    except KeyboardInterrupt:
        print("interrupted")
"""


@pytest.mark.parametrize(
    ("number", "status", "said"),
    [
        (signal.SIGINT, 0, "interrupted\n"),
        (signal.SIGTERM, -signal.SIGTERM, ""),
        (signal.SIGKILL, -signal.SIGKILL, ""),
    ],
)
def test_workers_end_with_their_parent_in_silence(
    tmp_path: Path, number: signal.Signals, status: int, said: str
) -> None:
    script = tmp_path / "reading.py"
    script.write_text(READING)
    with subprocess.Popen(
        [sys.executable, script],
        env=environment(),
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        start_new_session=True,
    ) as process:
        assert process.stdout
        workers = [psutil.Process(int(word)) for word in process.stdout.readline().split()]
        servers = [worker.parent() for worker in workers]
        assert len(workers) == 2
        # Ctrl-C in a terminal goes to every process of the session.
        for one in [psutil.Process(process.pid), *workers] if number == signal.SIGINT else [process]:
            one.send_signal(number)
        out, err = process.communicate(timeout=PATIENCE)
    _, left = psutil.wait_procs([*workers, *servers], timeout=PATIENCE)
    assert not left
    assert (process.returncode, out, err) == (status, said, "")
