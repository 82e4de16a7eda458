"""A stage: one command, the files it reads, the files it writes; skipped while neither has changed."""

from __future__ import annotations

import hashlib
import json
import os
import shlex
import subprocess
import sys
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from alexnet_client.errors import AlexNetError
from alexnet_client.files import atomic_path, sha256


class StageFailed(AlexNetError):
    """A stage's command ended with an error; its own message is above."""


@dataclass(frozen=True, slots=True)
class Stage:
    """One step of the pipeline."""

    name: str
    #: Arguments of ``python -m``.
    arguments: Sequence[str]
    #: Files and folders it reads, its own source code among them.
    inputs: Sequence[Path]
    #: Files it writes.
    outputs: Sequence[Path]
    #: What else decides its outputs: versions of runtimes, say.
    conditions: Sequence[str] = ()


@dataclass(frozen=True, slots=True)
class Done:
    """How a stage went. ``seconds`` is what the work took when it was done, also when it is skipped now."""

    seconds: float
    skipped: bool


def run(stage: Stage, records: Path) -> Done:
    """Run a stage, or skip it when its command and the hashes of its inputs and outputs are as recorded.

    Args:
        records: the folder where each stage's hashes are kept.

    Raises:
        StageFailed: the command ended with an error.
    """
    command = ["python", "-m", *stage.arguments]
    record = records / f"{stage.name}.json"
    before = {"command": command, "inputs": digest(stage.inputs), "conditions": list(stage.conditions)}
    known = _read(record)
    if known and known["before"] == before and known["outputs"] == digest(stage.outputs):
        print(f"\n== {stage.name}: skipped, its inputs have not changed ({known['seconds']:.0f} s when it ran)")
        return Done(known["seconds"], skipped=True)
    print(f"\n== {stage.name}\n$ {shlex.join(command)}", flush=True)
    record.unlink(missing_ok=True)
    started = time.monotonic()
    status = subprocess.run([sys.executable, *command[1:]], check=False).returncode
    if status:
        raise StageFailed(f"stage {stage.name} ended with status {status}; `{shlex.join(command)}` runs it alone")
    seconds = time.monotonic() - started
    with atomic_path(record) as partial:
        partial.write_text(json.dumps({"before": before, "outputs": digest(stage.outputs), "seconds": seconds}))
    return Done(seconds, skipped=False)


def digest(paths: Sequence[Path]) -> str | None:
    """One SHA-256 over files, and over the files below folders, links followed; None when one is missing."""
    total = hashlib.sha256()
    for path in paths:
        if not path.exists():
            return None
        for file in sorted(_files(path)) if path.is_dir() else [path]:
            total.update(f"{file}\0{sha256(file)}\n".encode())
    return total.hexdigest()


def _files(folder: Path) -> Iterator[Path]:
    seen = set()
    for name, folders, files in os.walk(folder, followlinks=True):
        folders[:] = [each for each in folders if each != "__pycache__"]
        if (real := os.path.realpath(name)) in seen:  # a link that leads back
            folders.clear()
            continue
        seen.add(real)
        yield from (Path(name, file) for file in files if not file.startswith(".") and Path(name, file).is_file())


def _read(record: Path) -> dict[str, Any] | None:
    try:
        known: dict[str, Any] = json.loads(record.read_text())
    except (FileNotFoundError, ValueError):
        return None
    return known
