"""Triton's processes and shared memory: who is there, who died, and what is left to clear away."""

from __future__ import annotations

import contextlib
import os
import re
import secrets
import shutil
import tempfile
from collections.abc import Iterable
from pathlib import Path

import psutil

STUB = "triton_python_backend_stub"
SHARED_MEMORY = Path("/dev/shm")  # noqa: S108  where the kernel puts it
#: Where sockets lie, on a short path: their names have at most 107 bytes.
FOLDERS = Path(tempfile.gettempdir())
PREFIX = "alexnet-"


def own_prefix() -> str:
    """What everything of one server is called by, with this process as its owner: folder, processes, shared memory."""
    return f"{PREFIX}{os.getpid()}-{secrets.token_hex(4)}-"


def lock_file(server: int, model: str) -> Path:
    """What the instances of a model take turns by, in the tritonserver with process id ``server``."""
    return SHARED_MEMORY / f"{PREFIX}{server}-{model}.lock"


def stubs(server: int) -> dict[int, str]:
    """Living backend processes of the tritonserver with process id ``server``: process id -> model."""
    found = {}
    try:
        children = psutil.Process(server).children()
    except psutil.NoSuchProcess:
        return {}
    for child in children:
        with contextlib.suppress(psutil.NoSuchProcess):
            # A killed stub stays as a zombie: nobody waits for it.
            if child.status() != psutil.STATUS_ZOMBIE and STUB in child.name() + (child.cmdline() or [""])[0]:
                found[child.pid] = _model(child.cmdline())
    return found


def _model(command: list[str]) -> str:
    """The stub's instance name, ``<model>_<group>_<number>``, is among its arguments."""
    for argument in command[2:]:
        match = re.fullmatch(r"(\w+)_\d+_\d+", argument)
        if match:
            return match[1]
    return ""


def stopped(process: int) -> bool:
    """Whether a process is stopped, as by SIGSTOP; a debugger's stop is another."""
    try:
        return bool(psutil.Process(process).status() == psutil.STATUS_STOPPED)
    except psutil.NoSuchProcess:
        return False


def work(processes: Iterable[int]) -> float:
    """Seconds of the processor that processes have used."""
    total = 0.0
    for process in processes:
        with contextlib.suppress(psutil.NoSuchProcess):
            times = psutil.Process(process).cpu_times()
            total += times.user + times.system
    return total


def kill(process: int) -> None:
    """Kill a process and all that it started; returns when they are gone."""
    try:
        parent = psutil.Process(process)
        family = [*parent.children(recursive=True), parent]
    except psutil.NoSuchProcess:
        return
    for each in family:
        with contextlib.suppress(psutil.NoSuchProcess):
            each.kill()
    psutil.wait_procs(family, timeout=5)


def naming(prefix: str) -> list[psutil.Process]:
    """Processes that name a prefix in an argument, but this one."""
    return [
        process
        for process in psutil.process_iter(["cmdline"])
        if process.pid != os.getpid() and any(prefix in argument for argument in process.info["cmdline"] or ())
    ]


def clear(prefix: str) -> None:
    """Kill what names a prefix, and remove its shared memory and its folder."""
    for process in naming(prefix):
        with contextlib.suppress(psutil.NoSuchProcess, psutil.AccessDenied):
            process.kill()
            process.wait(5)
    for path in _called(prefix):
        _remove(path)


def close_to_others(prefix: str) -> None:
    """Let nobody else read the regions of one server: clients' pixels go through them, and Triton leaves them open."""
    for region in SHARED_MEMORY.glob(f"{prefix}*"):
        region.chmod(0o600)


def clear_leftovers() -> None:
    """Clear away what killed supervisors left whose guardian was killed too: names hold their process ids."""
    owners = {match[1] for path in _called(PREFIX) if (match := _OWNER.match(path.name))}
    for owner in owners:
        if not psutil.pid_exists(int(owner)):
            clear(f"{PREFIX}{owner}-")


_OWNER = re.compile(re.escape(PREFIX) + r"(\d+)-")


def _called(prefix: str) -> list[Path]:
    return [path for folder in (SHARED_MEMORY, FOLDERS) for path in folder.glob(f"{prefix}*")]


def _remove(path: Path) -> None:
    with contextlib.suppress(OSError):  # another user's, or just gone
        shutil.rmtree(path) if path.is_dir() else path.unlink()
