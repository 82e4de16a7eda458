"""The log is bounded, whoever writes to it, and for one pair of eyes."""

from __future__ import annotations

import subprocess
from pathlib import Path

from deploy.serve.log import MOST_BYTES, bound_log, open_log
from tests.waiting import wait_until


def test_a_long_log_begins_anew_under_those_who_write_to_it(tmp_path: Path) -> None:
    path = tmp_path / "work" / "log"
    bound_log(path)  # there is none yet
    with open_log(path) as log, subprocess.Popen(["cat"], stdin=subprocess.PIPE, stdout=log) as writer:
        for number in range(3):
            line = b"%d" % number * MOST_BYTES + b"\n"
            writer.stdin.write(line)
            writer.stdin.flush()
            wait_until(lambda line=line: path.stat().st_size == len(line), "the line")
            bound_log(path)
            assert path.stat().st_size == 0
            assert path.with_name("log.1").read_bytes() == line
        writer.communicate(b"short\n")
    bound_log(path)
    assert path.read_bytes() == b"short\n"
    assert sorted(each.name for each in path.parent.iterdir()) == ["log", "log.1"]
    assert all(each.stat().st_mode & 0o077 == 0 for each in path.parent.iterdir())
