"""Images and containers of this machine: made by buildah, and run by podman as Kubernetes runs them."""

from __future__ import annotations

import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml

from tests.conftest import environment

#: By the variables that lead to them. Storage of a plain driver, which every file system can have; and an engine that
#: wants no systemd, asks for no limit that only the mighty may raise, and leaves no lock in shared memory.
CONFIGURATION = {
    "CONTAINERS_STORAGE_CONF": """
[storage]
driver = "vfs"
graphroot = "{folder}/images"
runroot = "{folder}/run"
""",
    "CONTAINERS_CONF": """
[containers]
default_ulimits = ["nofile=4096:4096", "nproc=4096:4096"]
[engine]
runtime = "runc"
cgroup_manager = "cgroupfs"
events_logger = "none"
lock_type = "file"
tmp_dir = "{folder}/tmp"
""",
}


@dataclass(frozen=True)
class Containers:
    """What buildah and podman keep in a folder of their own."""

    folder: Path

    def __post_init__(self) -> None:
        for variable, text in CONFIGURATION.items():
            (self.folder / variable).write_text(text.format(folder=self.folder))

    @property
    def environment(self) -> dict[str, str]:
        """In which they find it."""
        paths = {variable: str(self.folder / variable) for variable in CONFIGURATION}
        return environment() | {"BUILDAH_ISOLATION": "chroot"} | paths

    def try_to(self, *words: object, timeout: float | None = None) -> subprocess.CompletedProcess[str]:
        """Run ``buildah ...`` or ``podman ...``.

        Raises:
            TimeoutExpired: after that many seconds.
        """
        return subprocess.run(
            list(map(str, words)), env=self.environment, capture_output=True, text=True, check=False, timeout=timeout
        )

    def __call__(self, *words: object) -> str:
        """The same, and what it said."""
        done = self.try_to(*words)
        assert done.returncode == 0, done.stderr
        return done.stdout.strip()

    @contextmanager
    def running(self, image: str, *options: object, arguments: tuple[str, ...] = ()) -> Iterator[Container]:
        """As ``docker run`` runs it, on this machine's network."""
        name = self("podman", "run", "--detach", "--pull=never", "--network=host", *options, image, *arguments)
        try:
            yield Container(self, name)
        finally:
            self("podman", "rm", "--force", "--time=0", name)

    @contextmanager
    def playing(self, manifest: dict[str, Any], image: str, volumes: Path) -> Iterator[Container]:
        """The pod of a Deployment with one container, on this machine's network.

        Args:
            volumes: a folder with one for each that it mounts, as a kubelet makes them.
        """
        spec = manifest["spec"]["template"]["spec"]
        (container,) = spec["containers"]
        # Podman would want systemd to ask probes, and a bridge for ports.
        container = {key: value for key, value in container.items() if key != "ports" and not key.endswith("Probe")}
        container |= {"image": image}
        names = [each["name"] for each in spec["volumes"]]
        mounted = [{"name": name, "hostPath": {"path": str(volumes / name)}} for name in names]
        pod = {
            "apiVersion": "v1",
            "kind": "Pod",
            "metadata": {"name": manifest["metadata"]["name"]},
            "spec": spec | {"hostNetwork": True, "containers": [container], "volumes": mounted},
        }
        path = self.folder / "pod.yaml"
        path.write_text(yaml.safe_dump(pod))
        try:
            self("podman", "kube", "play", path)
            yield Container(self, f"{pod['metadata']['name']}-{container['name']}")
        finally:
            self("podman", "pod", "rm", "--all", "--force", "--time=0")


@dataclass(frozen=True)
class Container:
    """One that was started."""

    containers: Containers
    name: str

    @property
    def output(self) -> str:
        """What it said, on both streams."""
        done = self.containers.try_to("podman", "logs", self.name)
        return done.stdout + done.stderr

    @property
    def process(self) -> int:
        """Id, on this machine, of its first process."""
        return int(self._said("{{.State.Pid}}"))

    @property
    def runs(self) -> bool:
        """Whether that lives."""
        return self._said("{{.State.Status}}") == "running"

    def _said(self, form: str) -> str:
        return self.containers("podman", "inspect", "--format", form, self.name)

    def passes(self, probe: dict[str, Any]) -> bool:
        """Whether a probe, a command, succeeds in it now."""
        try:
            done = self.containers.try_to(
                "podman", "exec", self.name, *probe["exec"]["command"], timeout=probe["timeoutSeconds"]
            )
        except subprocess.TimeoutExpired:
            return False
        return done.returncode == 0

    def stop(self, grace: float) -> int:
        """End it by SIGTERM, and by SIGKILL after so many seconds.

        Returns:
            Its exit status.
        """
        self.containers("podman", "stop", f"--time={grace:.0f}", self.name)
        return int(self._said("{{.State.ExitCode}}"))
