"""What the chart's manifests say is run: command, arguments, environment and probes, of the rendered YAML."""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
import psutil

from alexnet_client import AlexNetClient
from alexnet_client.contract import IMAGE
from deploy.serve import processes
from deploy.serve.ports import free_ports
from tests.certificates import Certificates
from tests.charts import CHART, of_kind, render
from tests.conftest import ROOT, environment
from tests.waiting import PATIENCE, wait_until

MODEL = "alexnet_int8"
PICTURE = np.random.default_rng(0).integers(0, 256, IMAGE.shape, np.uint8)


class Pod:
    """The server's container as a process of this machine: what is mounted in it lies in folders here."""

    def __init__(self, manifest: dict[str, Any], volumes: Path) -> None:
        """Name it.

        Args:
            manifest: the Deployment.
            volumes: a folder with one for each that the container mounts.
        """
        self.spec = manifest["spec"]["template"]["spec"]
        (self.container,) = self.spec["containers"]
        self._volumes = volumes
        self._mounts = {
            mount["mountPath"]: volumes / mount["name"]
            for mount in self.container["volumeMounts"]
            if mount["mountPath"] != processes.SHARED_MEMORY.as_posix()
        }

    def _here(self, text: str) -> str:
        for path, folder in self._mounts.items():
            option, equals, value = text.rpartition("=")
            if value == path or value.startswith(f"{path}/"):
                return f"{option}{equals}{folder}{value.removeprefix(path)}"
        return text

    def _command(self, words: list[str]) -> list[str]:
        assert words[0] == "python"
        return [sys.executable, *map(self._here, words[1:])]

    @property
    def _environment(self) -> dict[str, str]:
        said = {entry["name"]: self._here(entry["value"]) for entry in self.container.get("env", [])}
        return environment() | said

    @contextmanager
    def running(self) -> Iterator[psutil.Process]:
        """Its main process, which ends by SIGTERM within the grace period."""
        for mount in self._mounts.values():
            mount.mkdir(exist_ok=True)
        command = self._command(self.container["command"] + self.container["args"])
        with subprocess.Popen(command, cwd=ROOT, env=self._environment, stdout=subprocess.DEVNULL) as process:
            try:
                yield psutil.Process(process.pid)
                process.send_signal(signal.SIGTERM)
                assert process.wait(self.spec["terminationGracePeriodSeconds"]) == 0
            finally:
                process.kill()

    def passes(self, probe: str) -> bool:
        """Whether a probe succeeds now."""
        said = self.container[f"{probe}Probe"]
        try:
            done = subprocess.run(
                self._command(said["exec"]["command"]),
                cwd=ROOT,
                env=self._environment,
                capture_output=True,
                check=False,
                timeout=said["timeoutSeconds"],
            )
        except subprocess.TimeoutExpired:
            return False
        return done.returncode == 0


def servers(supervisor: psutil.Process) -> list[int]:
    """Process ids of the living tritonservers."""
    return [
        child.pid
        for child in supervisor.children()
        if child.name() == "tritonserver" and child.status() != psutil.STATUS_ZOMBIE
    ]


def test_the_rendered_pod_serves_and_its_probes_tell_the_truth(int8_repository: Path, tmp_path: Path) -> None:
    """With certificates for both sides, as that says most; a backend is stopped, once for each probe."""
    ports, volumes = free_ports(), tmp_path / "volumes"
    (volumes / "tls").mkdir(parents=True)
    certificates = Certificates(volumes / "tls")
    for ours, kubernetes in (("ca.pem", "ca.crt"), ("server.pem", "tls.crt"), ("server.key", "tls.key")):
        shutil.copy(volumes / "tls" / ours, volumes / "tls" / kubernetes)
    shutil.copytree(int8_repository, volumes / "models" / "repository")
    settings = {
        "server.host": ports.host,
        "server.grpcPort": ports.grpc,
        "server.metricsPort": ports.metrics,
        "tls.serverName": "triton.example",
    }
    manifests = render(CHART / "ci" / "mtls-values.yaml", *(f"{key}={value}" for key, value in settings.items()))
    pod = Pod(of_kind(manifests, "Deployment"), volumes)
    with pod.running() as process:
        assert not pod.passes("startup")
        wait_until(lambda: pod.passes("startup"), "the startup probe")
        assert pod.passes("readiness")
        assert pod.passes("liveness")
        with AlexNetClient(f"{ports.host}:{ports.grpc}", MODEL, tls=certificates.mutual, timeout=PATIENCE) as client:
            right = client.embed(PICTURE)
            for probe in ("readiness", "liveness"):
                wait_until(lambda: len(servers(process)) == 1, "the end of the server before")
                for stub, model in processes.stubs(*servers(process)).items():
                    if model == MODEL:
                        os.kill(stub, signal.SIGSTOP)
                wait_until(lambda probe=probe: not pod.passes(probe), f"the {probe} probe's failure")
                wait_until(lambda probe=probe: pod.passes(probe), f"the {probe} probe's success")
            np.testing.assert_array_equal(client.embed(PICTURE), right)
        family = process.children(recursive=True)
    assert not [each for each in family if each.is_running() and each.status() != psutil.STATUS_ZOMBIE]
