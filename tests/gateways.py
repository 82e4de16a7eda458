"""The chart's gateway as a process of this machine, as it is rendered but for addresses and folders."""

from __future__ import annotations

import http.client
import itertools
import json
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import yaml

from deploy.serve.ports import Ports
from tests.certificates import Certificates
from tests.charts import of_kind
from tests.names import Names
from tests.pods import Pod
from tests.waiting import wait_until

_RESOLVER = "type.googleapis.com/envoy.extensions.network.dns_resolver.cares.v3.CaresDnsResolverConfig"


class Secret:
    """A mounted Secret, as the kubelet writes one: renewed by renaming one link."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self._numbers = itertools.count()

    def write(self, certificates: Certificates) -> None:
        """Put the present server's certificate, its key and the authority in place."""
        names = {"ca.crt": "ca.pem", "tls.crt": "server.pem", "tls.key": "server.key"}
        self.put({name: (certificates.folder / ours).read_bytes() for name, ours in names.items()})

    def put(self, files: dict[str, bytes]) -> None:
        """Put these in place, of those before."""
        version = self.folder / f"..{next(self._numbers)}"
        version.mkdir(parents=True)
        for name, content in files.items():
            (version / name).write_bytes(content)
            if not (self.folder / name).is_symlink():
                (self.folder / name).symlink_to(Path("..data") / name)
        (self.folder / "..next").symlink_to(version.name)
        (self.folder / "..next").rename(self.folder / "..data")


class Gateway:
    """A pod of the gateway's Deployment."""

    def __init__(self, manifests: list[dict[str, Any]], folder: Path, ports: Ports, names: Names) -> None:
        """Name it.

        Args:
            manifests: of the chart, with these ports.
            folder: of its volumes; Secrets are there before it starts.
            names: where it looks for replicas.
        """
        self.ports = ports
        #: What it writes.
        self.log = folder / "log"
        self._pod = Pod(of_kind(manifests, "Deployment", "gateway"), folder, container="gateway")
        self._process: subprocess.Popen[bytes] | None = None
        configuration = folder / "configuration"
        configuration.mkdir(parents=True)
        for name, text in of_kind(manifests, "ConfigMap", "gateway")["data"].items():
            (configuration / name).write_text(json.dumps(self._here(yaml.safe_load(text), names)))

    @property
    def url(self) -> str:
        """``host:port``."""
        return f"{self.ports.host}:{self.ports.grpc}"

    @contextmanager
    def running(self) -> Iterator[Gateway]:
        """It, ready, until it has left as a pod does, or has before."""
        with self.log.open("wb") as log, self._pod.start(log) as self._process:
            try:
                probe = self._pod.container["readinessProbe"]["httpGet"]
                wait_until(lambda: self.asks(probe["path"]) == 200, "the gateway's readiness")
                yield self
                if self._process.poll() is None:
                    self.leave()
            finally:
                self._process.kill()

    def leave(self) -> None:
        """By preStop and SIGTERM."""
        assert self._process is not None
        self._pod.leave(self._process)

    def asks(self, path: str) -> int:
        """HTTP status of what the kubelet and Prometheus ask; 0 is no answer."""
        connection = http.client.HTTPConnection(self.ports.host, self.ports.metrics, timeout=5)
        try:
            connection.request("GET", path)
            return connection.getresponse().status
        except OSError:
            return 0
        finally:
            connection.close()

    def _here(self, said: Any, names: Names) -> Any:
        """A configuration with this machine's folders and name server."""
        if isinstance(said, dict):
            here = {key: self._here(value, names) for key, value in said.items()}
            if str(said.get("@type")).endswith(".DnsCluster"):
                at = {"address": "127.0.0.1", "port_value": names.port, "protocol": "UDP"}
                here["typed_dns_resolver_config"] = {
                    "name": "envoy.network.dns_resolver.cares",
                    "typed_config": {"@type": _RESOLVER, "resolvers": [{"socket_address": at}]},
                }
            return here
        if isinstance(said, list):
            return [self._here(each, names) for each in said]
        return self._pod.here(said) if isinstance(said, str) else said
