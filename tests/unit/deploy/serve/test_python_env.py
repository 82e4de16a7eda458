"""Folders that nothing says the owner of: those of a tritonserver of ours alone, and only empty ones, are removed."""

from __future__ import annotations

import mmap
import os
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from deploy.serve import python_env

#: Maps a file, as who has loaded a library does, until it is told to end.
MAPS = """
import mmap, sys
with open(sys.argv[1], "rb") as file:
    mapped = mmap.mmap(file.fileno(), 0, prot=mmap.PROT_READ)
print("mapped", flush=True)
sys.stdin.readline()
"""


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """In ``/tmp``'s place; and a library that nobody has but who is told to."""
    library = tmp_path / "lib_of_a_test.so"
    library.write_bytes(bytes(mmap.PAGESIZE))
    folder = tmp_path / "tmp"
    folder.mkdir()
    monkeypatch.setattr(python_env, "FOLDER", folder)
    monkeypatch.setattr(python_env, "LIBRARY", str(library))
    return folder


@contextmanager
def triton() -> Iterator[int]:
    """Another one, while the block runs."""
    command = [sys.executable, "-c", MAPS, python_env.LIBRARY]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        assert process.stdout.readline() == "mapped\n"
        yield process.pid
        process.communicate("\n")


def make(folder: Path, *names: str) -> None:
    for name in names:
        (folder / name).mkdir()


def names(folder: Path) -> set[str]:
    return {path.name for path in folder.iterdir()}


def test_what_has_appeared_and_is_empty_is_removed(folder: Path, tmp_path: Path) -> None:
    make(folder, "python_env_old000")
    before, note = python_env.present(), tmp_path / f"1-{python_env.NOTE}"
    make(folder, "python_env_longer1", "python_env_filled", "python_env_empty0", "another")
    make(folder / "python_env_filled", "0")
    with triton() as own:
        python_env.note(note, own, before)
    python_env.remove(note)
    assert names(folder) == {"another", "python_env_old000", "python_env_longer1", "python_env_filled"}
    assert not note.exists()


def test_what_another_triton_may_have_made_is_not_noted_before_that_has_noted_its_own(
    folder: Path, tmp_path: Path
) -> None:
    first, second = (tmp_path / f"{name}-{python_env.NOTE}" for name in "12")
    make(folder, "python_env_old000")
    with triton() as other, triton() as own:
        make(folder, "python_env_mine00")
        python_env.note(second, own, {"python_env_old000"})
        assert not second.exists()
        first.write_text(f"{other}\npython_env_other0")
        make(folder, "python_env_other0")
        python_env.note(second, own, {"python_env_old000"})
        assert second.read_text() == f"{own}\npython_env_mine00"


def test_what_somebody_put_in_a_notes_place_says_nothing(folder: Path, tmp_path: Path) -> None:
    """Not even when it will end."""
    make(folder, "python_env_other0", "precious")
    strange, pipe, own = (tmp_path / f"{name}-{python_env.NOTE}" for name in ("strange", "pipe", "own"))
    os.mkfifo(pipe)
    for text in ("", "1\n../precious", "1\npython_env_other0\n", "python_env_other0"):
        strange.write_text(text)
        python_env.remove(strange)
        strange.write_text(text)
        python_env.note(own, 1, ())
        assert own.read_text() == "1\npython_env_other0"
        own.unlink()
    python_env.remove(pipe)
    assert names(folder) == {"precious", "python_env_other0"}
