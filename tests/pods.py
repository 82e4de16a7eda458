"""A rendered container as processes of this machine: by its own command, arguments, environment, probes and hooks."""

from __future__ import annotations

import re
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import IO, Any

import psutil

from deploy.serve import processes
from tests.conftest import ROOT, environment


class Pod:
    """A container of a Deployment or Job as a process of this machine: what is mounted in it lies in folders here."""

    def __init__(
        self,
        manifest: dict[str, Any],
        volumes: Path,
        url: str = "",
        annotations: dict[str, str] | None = None,
        container: str | None = None,
    ) -> None:
        """Name it.

        Args:
            manifest: the Deployment or Job.
            volumes: a folder with one for each that the container mounts.
            url: asked in place of a name that only a cluster knows.
            annotations: of the pod.
            container: which of several.
        """
        self._url, self._annotations = url, annotations or {}
        self.spec = manifest["spec"]["template"]["spec"]
        (self.container,) = [each for each in self.spec["containers"] if container in (None, each["name"])]
        self._mounts = {
            mount["mountPath"]: volumes / mount["name"]
            for mount in self.container["volumeMounts"]
            if mount["mountPath"] != processes.SHARED_MEMORY.as_posix()
        }

    def here(self, text: str) -> str:
        """A path in the container, or an option with one, as it is on this machine."""
        for path, folder in self._mounts.items():
            option, equals, value = text.rpartition("=")
            if value == path or value.startswith(f"{path}/"):
                return f"{option}{equals}{folder}{value.removeprefix(path)}"
        return text

    def _command(self, words: list[str]) -> list[str]:
        """As the kubelet makes it: ``$(NAME)`` is the container's variable."""
        assert words[0] == "python"
        said = [re.sub(r"\$\((\w+)\)", lambda name: self._said[name[1]], word) for word in words[1:]]
        asked = [f"--url={self._url}" if self._url and word.startswith("--url=") else word for word in said]
        return [sys.executable, *map(self.here, asked)]

    @property
    def _said(self) -> dict[str, str]:
        return {entry["name"]: self.here(self._value(entry)) for entry in self.container.get("env", [])}

    def _value(self, entry: dict[str, Any]) -> str:
        if "value" in entry:
            return str(entry["value"])
        (name,) = re.findall(r"^metadata\.annotations\['(.+)'\]$", entry["valueFrom"]["fieldRef"]["fieldPath"])
        return self._annotations[name]

    @property
    def _environment(self) -> dict[str, str]:
        return environment() | self._said

    def start(self, stdout: IO[bytes] | int = subprocess.DEVNULL) -> subprocess.Popen[bytes]:
        """Its main process."""
        for mount in self._mounts.values():
            mount.mkdir(exist_ok=True)
        command = self._command(self.container["command"] + self.container["args"])
        return subprocess.Popen(command, cwd=ROOT, env=self._environment, stdout=stdout)

    @contextmanager
    def running(self) -> Iterator[psutil.Process]:
        """Its main process, which ends by SIGTERM within the grace period."""
        with self.start() as process:
            try:
                yield psutil.Process(process.pid)
                process.send_signal(signal.SIGTERM)
                assert process.wait(self.spec["terminationGracePeriodSeconds"]) == 0
            finally:
                process.kill()

    def leave(self, process: subprocess.Popen[bytes]) -> None:
        """What Kubernetes does to a pod that it removes: preStop, SIGTERM, all within the grace period."""
        deadline = time.monotonic() + self.spec["terminationGracePeriodSeconds"]
        hook = self.container["lifecycle"]["preStop"]
        if "sleep" in hook:
            time.sleep(hook["sleep"]["seconds"])  # as the kubelet does
        else:
            command = self._command(hook["exec"]["command"])
            assert subprocess.run(command, cwd=ROOT, env=self._environment, check=False).returncode == 0
        process.send_signal(signal.SIGTERM)
        assert process.wait(deadline - time.monotonic()) == 0

    def passes(self, probe: str) -> bool:
        """Whether a probe, a command, succeeds now."""
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
