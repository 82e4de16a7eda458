"""Publishing in a process of its own, stopped by the operating system in the middle."""

import random
import resource
import signal
import subprocess
import sys
import textwrap
from pathlib import Path

import pytest

from export import publish
from export.artefacts import manifest
from tests.artefacts import make_artefact, make_pair


@pytest.fixture
def folders(tmp_path: Path) -> list[Path]:
    return make_pair(tmp_path / "artefacts")


def test_a_file_size_limit_of_the_kernel_leaves_the_old_release(tmp_path: Path, folders: list[Path]) -> None:
    """A real write that the operating system refuses half-way, in a real process."""
    repository = tmp_path / "repository"
    publish.publish(repository, folders, "int8")
    make_artefact(folders[1], "int8", b"x" * 1_000_000)

    def limit() -> None:
        signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
        resource.setrlimit(resource.RLIMIT_FSIZE, (500_000, 500_000))

    names = ["fp32", "int8-cpu"]
    command = ["publish", "--output", folders[0].parent, "--repository", repository, *names]
    got = subprocess.run(
        [sys.executable, "-m", "export", *map(str, command)],
        preexec_fn=limit,
        capture_output=True,
        text=True,
        check=False,
    )
    assert got.returncode == 1
    written = tmp_path / "repository.releases/.2.partial/alexnet_int8/2/model.onnx"
    assert got.stderr.strip().endswith(f"File too large, free some or write elsewhere: '{written}'")
    assert len(got.stderr.splitlines()) == 1
    assert repository.readlink().name == "1"
    assert (repository / "alexnet_int8/1/model.onnx").read_bytes() == b"eight bits"


def test_killed_at_any_moment_it_leaves_the_old_release_or_the_new_one(tmp_path: Path, folders: list[Path]) -> None:
    repository = tmp_path / "repository"
    old, new = b"old " * 1000, b"new " * 1000
    make_artefact(folders[1], "int8", old)
    publish.publish(repository, folders, "int8")
    make_artefact(folders[1], "int8", new)
    program = textwrap.dedent("""
        import os, sys, signal
        from pathlib import Path
        from export import publish
        steps, at = 0, int(sys.argv[1])
        def step(*_):
            global steps
            steps += 1
            if steps == at:
                os.kill(os.getpid(), signal.SIGKILL)
        sys.addaudithook(lambda event, _: step() if event.startswith(("os.", "shutil.", "open")) else None)
        publish.publish(Path(sys.argv[2]), [Path(p) for p in sys.argv[3:]], "int8")
    """)
    generator = random.Random(0)
    seen = set()
    for moment in sorted(generator.sample(range(1, 330), 14)):
        subprocess.run(
            [sys.executable, "-c", program, str(moment), str(repository), *map(str, folders)], check=False, timeout=60
        )
        number = repository.readlink().name
        content = (repository / f"alexnet_int8/{number}/model.onnx").read_bytes()
        assert content == (old if number == "1" else new)
        for model in repository.iterdir():
            manifest.read(model / number).check(model)
        seen.add(number)
    assert "1" in seen
    publish.publish(repository, folders, "int8")
    assert (repository / f"alexnet_int8/{repository.readlink().name}/model.onnx").read_bytes() == new
