"""Triton's processes and shared memory: who is there, who died, and what is left to clear away."""

from __future__ import annotations

import contextlib
import os
import re
import secrets
import shutil
import tempfile
import time
from collections.abc import Iterable
from pathlib import Path

import psutil

from deploy.serve import python_env

STUB = "triton_python_backend_stub"
#: Programs that a server consists of.
OURS = ("tritonserver", STUB, "envoy")
SHARED_MEMORY = Path("/dev/shm")  # noqa: S108  where the kernel puts it
#: Where sockets lie, on a short path: their names have at most 107 bytes.
FOLDERS = Path(tempfile.gettempdir())
PREFIX = "alexnet-"


def own_prefix() -> str:
    """What everything of one server is called by, with this process as its owner: folder, processes, shared memory."""
    return f"{PREFIX}{os.getpid()}-{began(os.getpid()):x}-{secrets.token_hex(4)}-"


def began(process: int) -> int:
    """When a process began, in the kernel's ticks: ids come again, in a container that is started anew the same ones.

    0 of one that is not there.
    """
    try:
        return int(Path(f"/proc/{process}/stat").read_text().rpartition(")")[2].split()[19])
    except OSError:
        return 0


def locks_prefix(server: int) -> str:
    """How the lock files of the tritonserver with process id ``server`` begin."""
    return f"{PREFIX}{server}-"


def lock_file(server: int, model: str) -> Path:
    """What the instances of a model take turns by, in the tritonserver with process id ``server``."""
    return SHARED_MEMORY / f"{locks_prefix(server)}{model}.lock"


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
    deadline = time.monotonic() + 5
    while not all(map(over, family)) and time.monotonic() < deadline:
        time.sleep(0.005)


def over(process: psutil.Process) -> bool:
    """Whether it does nothing any more; one that nobody waits for, as tritonserver for its backends, is a zombie."""
    try:
        return bool(process.status() == psutil.STATUS_ZOMBIE)
    except psutil.NoSuchProcess:
        return True


def naming(prefix: str) -> list[psutil.Process]:
    """Processes of ours that name a server's prefix in an argument; nobody else's, were it an editor of its files."""
    return [
        process
        for process in psutil.process_iter(["cmdline"])
        if (command := process.info["cmdline"])
        and Path(command[0]).name in OURS
        and any(prefix in argument for argument in command)
    ]


def clear(prefix: str) -> None:
    """Kill what names a server's prefix, and remove its shared memory and its folder."""
    for process in naming(prefix):
        with contextlib.suppress(psutil.NoSuchProcess, psutil.AccessDenied):
            process.kill()
            process.wait(5)
    remove(prefix)


def remove(prefix: str) -> None:
    """Remove regions, lock files, folders and notes that are called so."""
    for path in called(prefix):
        with contextlib.suppress(OSError):  # another user's, or just gone
            if path.name.endswith(python_env.NOTE):
                python_env.remove(path)
            else:
                shutil.rmtree(path) if path.is_dir() else path.unlink()


def called(prefix: str) -> list[Path]:
    """Regions, lock files, folders and notes that are called so."""
    return [path for folder in (SHARED_MEMORY, FOLDERS) for path in folder.glob(f"{prefix}*")]


def close_to_others(prefix: str) -> None:
    """Let nobody else read the regions of one server: clients' pixels go through them, and Triton leaves them open."""
    for region in SHARED_MEMORY.glob(f"{prefix}*"):
        region.chmod(0o600)


def clear_leftovers() -> None:
    """Clear away what killed supervisors left whose guardian was killed too: names hold who they were."""
    for path in called(PREFIX):
        match = _OWNED.match(path.name)
        if match and match["began"]:
            if began(int(match["owner"])) != int(match["began"], 16):
                clear(match[0])
        elif match and not began(int(match["owner"])):  # a lock file, with no secret in its name: nobody is killed
            remove(path.name)


_OWNED = re.compile(re.escape(PREFIX) + r"(?P<owner>\d+)-((?P<began>[0-9a-f]+)-[0-9a-f]{8}-)?")
