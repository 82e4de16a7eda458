"""What commands on engines print."""

from __future__ import annotations

import re
from pathlib import Path

from tests.conftest import command

#: What `make engines` prints of one engine.
ROW = re.compile(r"^(\S+)-(sm\d+) +([\d.]+) +(\S+)  (.*?) {2,}(.*)$", re.MULTILINE)


def refused(output: Path, *arguments: str, reason: str, remedy: str) -> None:
    """The command fails with one line, but for the progress bar's."""
    done = command("export", *arguments, "--output", output, status=1)
    (line,) = (line for line in done.stderr.splitlines() if line.startswith(f"python -m export {arguments[0]}: "))
    assert reason in line
    assert remedy in line
    assert "Traceback" not in done.stderr
