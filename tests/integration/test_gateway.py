"""The chart's gateway before real replicas that leave, die and hang, for callers who never repeat a call.

Everything is as ``ci/gateway-values.yaml`` renders it, with certificates on both ways; only addresses, folders and the
numbers in :data:`SETTINGS` are this test's. A name server knows who is ready, as a cluster's does.
"""

from __future__ import annotations

import itertools
import signal
import socket
import ssl
import subprocess
from collections import Counter
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import AbstractContextManager, contextmanager, suppress
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Any

import grpc
import numpy as np
import psutil
import pytest

from alexnet_client import TLS
from alexnet_client.contract import IMAGE, MAX_REQUEST_BYTES, TOO_LARGE
from deploy.loadtest.hostile import hurrying, trickling
from deploy.loadtest.workload import workload
from deploy.serve.envoy import HEALTH, INFER, METHODS, SERVICE
from deploy.serve.ports import Ports, free_ports
from deploy.serve.probe import NotReady, check
from tests.certificates import Certificates
from tests.charts import CHART, of_kind, render
from tests.gateways import Gateway, Secret
from tests.loads import ONCE, RATE, Load
from tests.names import Names
from tests.pods import Pod
from tests.waiting import PATIENCE, wait_until

Attack = Callable[..., AbstractContextManager[None]]
MODEL = "alexnet_int8"
PICTURES = np.random.default_rng(0).integers(0, 256, (8, *IMAGE.shape), np.uint8)
MESSAGES = workload(MODEL, list(PICTURES)).messages
#: In the certificates.
NAME = "triton.example"
#: Of a client.
BURST = 300
SETTINGS = {
    "tls.serverName": NAME,
    "preStopSeconds": 2,
    "gateway.preStopSeconds": 1,
    # More than our load, be it late and in one burst.
    "gateway.rateLimit.requestsPerSecond": 30,
    "gateway.rateLimit.burst": BURST,
}
#: Of KServe's service, what changes a server or reads what is not a client's.
CLOSED = (
    "RepositoryModelLoad",
    "RepositoryModelUnload",
    "SystemSharedMemoryRegister",
    "SystemSharedMemoryStatus",
    "CudaSharedMemoryRegister",
    "TraceSetting",
    "LogSettings",
    "ModelStreamInfer",
)


@dataclass
class Replica:
    """A pod of the Deployment, at an address of its own."""

    pod: Pod
    address: str
    url: str
    process: subprocess.Popen[bytes]

    @property
    def family(self) -> list[psutil.Process]:
        """All its processes, but for who clears up after them."""
        main = psutil.Process(self.process.pid)
        return [
            each for each in (main, *main.children(recursive=True)) if "deploy.serve.guardian" not in each.cmdline()
        ]

    def all_at_once(self, number: signal.Signals) -> None:
        """A signal, which is all that they get."""
        with suppress(psutil.NoSuchProcess):
            for each in self.family:
                each.send_signal(number)


@dataclass
class Edge:
    """Replicas, those who find them, and the gateway's own certificates."""

    repository: Path
    folder: Path
    names: Names
    certificates: Certificates
    #: Of every replica, each at another address.
    ports: Ports = field(default_factory=free_ports)
    #: Of the gateway.
    at: Ports = field(default_factory=free_ports)
    secret: Secret = field(init=False)
    replicas: list[Replica] = field(default_factory=list)
    _numbers: Iterator[int] = field(default_factory=lambda: itertools.count(11))

    def render(self, host: str) -> list[dict[str, Any]]:
        settings = SETTINGS | {
            "server.host": host,
            "server.grpcPort": self.ports.grpc,
            "server.metricsPort": self.ports.metrics,
            "gateway.host": self.at.host,
            "gateway.grpcPort": self.at.grpc,
            "gateway.operationsPort": self.at.metrics,
        }
        return render(CHART / "ci" / "gateway-values.yaml", *(f"{key}={value}" for key, value in settings.items()))

    def start(self) -> Replica:
        """Another pod, which is not ready yet."""
        number = next(self._numbers)
        address, volumes = f"127.0.0.{number}", self.folder / f"replica-{number}"
        (volumes / "models").mkdir(parents=True)
        (volumes / "models" / "repository").symlink_to(self.repository.resolve())
        Secret(volumes / "tls").write(self.certificates)
        pod = Pod(of_kind(self.render(address), "Deployment", "serving"), volumes)
        replica = Replica(pod, address, f"{address}:{self.ports.grpc}", pod.start())
        self.replicas.append(replica)
        return replica

    def admit(self, replica: Replica) -> None:
        """Have it found once it is ready."""

        def ready() -> bool:
            try:
                return bool(check(replica.url, 5.0, tls=self.tls("client")))
            except NotReady:
                return False

        wait_until(ready, f"the replica at {replica.url}")
        self.names.addresses += (replica.address,)

    def forget(self, replica: Replica) -> None:
        """Have it found no more."""
        self.replicas.remove(replica)
        self.names.addresses = tuple(each for each in self.names.addresses if each != replica.address)

    def tls(self, name: str) -> TLS:
        folder = self.certificates.folder
        return TLS(folder / "ca.pem", folder / f"{name}.pem", folder / f"{name}.key", NAME)

    @contextmanager
    def gateway(self) -> Iterator[Gateway]:
        """The chart's; its certificate is :attr:`secret`."""
        folder = self.folder / "gateway"
        Secret(folder / "tls-replicas").write(self.certificates)
        self.secret = Secret(folder / "tls")
        self.secret.write(self.certificates)
        with Gateway(self.render(self.at.host), folder, self.at, self.names).running() as running:
            yield running

    def channel(self, name: str | None = "client") -> grpc.Channel:
        """To the gateway.

        Args:
            name: of the certificate that is shown; None shows none.
        """
        tls = self.tls(name) if name else self.certificates.tls
        options = [*ONCE, ("grpc.max_send_message_length", -1), ("grpc.ssl_target_name_override", NAME)]
        return grpc.secure_channel(f"{self.at.host}:{self.at.grpc}", tls.credentials(), options)

    def serial(self) -> str:
        """Of the certificate that the gateway shows now."""
        context = ssl.create_default_context(cafile=self.certificates.folder / "ca.pem")
        context.set_alpn_protocols(["h2"])
        with (
            socket.create_connection((self.at.host, self.at.grpc)) as plain,
            context.wrap_socket(plain, server_hostname=NAME) as connection,
        ):
            return str(connection.getpeercert()["serialNumber"])


@pytest.fixture(scope="module")
def edge(int8_repository: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Edge]:
    """Three ready replicas."""
    folder = tmp_path_factory.mktemp("edge")
    (folder / "certificates").mkdir()
    with Names().answering() as names:
        edge = Edge(int8_repository, folder, names, Certificates(folder / "certificates"))
        try:
            for replica in [edge.start() for _ in range(3)]:
                edge.admit(replica)
            yield edge
        finally:
            for replica in edge.replicas:
                replica.process.terminate()
            for replica in edge.replicas:
                replica.process.wait(PATIENCE)


@pytest.fixture(scope="module")
def gateway(edge: Edge) -> Iterator[Gateway]:
    """One before them."""
    with edge.gateway() as running:
        yield running


def test_who_shows_no_certificate_may_ask_for_health_and_nothing_else(edge: Edge, gateway: Gateway) -> None:
    with edge.channel(None) as stranger:
        assert answer(stranger, f"{HEALTH}Check", b"") == "OK"
        for method in METHODS + CLOSED:
            assert answer(stranger, f"{SERVICE}/{method}", b"") == "UNAUTHENTICATED", method
        assert answer(stranger, "/anything.else/At.all", b"") == "UNAUTHENTICATED"
    with edge.channel() as client:
        assert answer(client, f"{SERVICE}/ServerReady", b"") == "OK"
        for method in CLOSED:
            assert answer(client, f"{SERVICE}/{method}", b"") == "PERMISSION_DENIED", method
        assert answer(client, "/anything.else/At.all", b"") == "PERMISSION_DENIED"
    for path, status in (
        ("/live", 200),
        ("/metrics", 200),
        ("/stats", 404),
        ("/config_dump", 404),
        ("/quitquitquit", 404),
    ):
        assert gateway.asks(path) == status, path


def test_a_request_that_is_too_large_is_refused_in_the_doors_words_and_the_largest_is_passed_on(
    edge: Edge, gateway: Gateway
) -> None:
    with edge.channel() as client:
        infer = client.unary_unary(INFER)
        with pytest.raises(grpc.RpcError, match=TOO_LARGE):
            infer(bytes(MAX_REQUEST_BYTES + 1), timeout=PATIENCE)
        with pytest.raises(grpc.RpcError, match="the request has more than") as refused:
            infer(bytes(MAX_REQUEST_BYTES - 2**10), timeout=PATIENCE)
        assert refused.value.code() is grpc.StatusCode.INVALID_ARGUMENT  # as a replica's door says it


def test_certificates_are_renewed_and_nobody_notices(edge: Edge, gateway: Gateway) -> None:
    with edge.channel() as channel, Load(channel, MESSAGES) as load:
        for _ in range(2):
            before = edge.serial()
            edge.certificates.issue("server", NAME)
            edge.secret.write(edge.certificates)
            wait_until(lambda before=before: edge.serial() != before, "the new certificate")
            with edge.channel() as other:
                assert answer(other, INFER, MESSAGES[0]) == "OK"
            load.more(RATE)
    assert load.outcomes.keys() == {"OK"}


def test_who_asks_too_often_is_refused_and_the_others_are_not(edge: Edge, gateway: Gateway) -> None:
    edge.certificates.issue("greedy", "greedy@example.org")
    outcomes: Counter[str] = Counter()

    def ask_often() -> bool:
        # It would be somebody else with each call.
        others = ([("x-forwarded-client-cert", f"Hash={number}")] for number in range(2 * BURST))
        calls = [ready.future(b"", PATIENCE, metadata) for metadata in others]
        outcomes.update(call.code().name if call.code() is grpc.StatusCode.OK else call.details() for call in calls)
        return len(outcomes) > 1

    with edge.channel() as channel, edge.channel("greedy") as greedy, Load(channel, MESSAGES) as load:
        ready = greedy.unary_unary(f"{SERVICE}/ServerReady")
        wait_until(ask_often, "a refusal")
        load.more(RATE)
    assert outcomes.keys() == {"OK", "too many requests: a client may send 30 a second"}
    assert outcomes["OK"] >= BURST
    assert load.outcomes.keys() == {"OK"}


@pytest.mark.parametrize(
    "attack",
    [partial(trickling, streams=200), partial(hurrying, deadline=0.001, rate=300)],
    ids=["requests that do not end", "deadlines of 1 ms"],
)
def test_one_stranger_does_not_stop_the_others(edge: Edge, gateway: Gateway, attack: Attack) -> None:
    edge.certificates.issue("stranger", "stranger@example.org")
    with (
        edge.channel() as channel,
        Load(channel, MESSAGES) as load,
        attack(gateway.url, MESSAGES[0], tls=edge.tls("stranger")),
    ):
        load.more(5 * RATE)
        assert gateway.asks("/ready") == 200
        for replica in edge.replicas:
            assert check(replica.url, PATIENCE, tls=edge.tls("client"))
    assert load.outcomes.keys() == {"OK"}


def test_a_rolling_update_fails_nobody(edge: Edge, gateway: Gateway) -> None:
    """One more, then one less, three times, as the Deployment has it."""
    before = list(edge.replicas)
    with edge.channel() as channel, Load(channel, MESSAGES) as load, ThreadPoolExecutor() as kubelets:
        load.more(RATE)
        leaving = []
        for old in before:
            edge.admit(edge.start())
            edge.forget(old)  # which is when its preStop begins
            leaving.append(kubelets.submit(old.pod.leave, old.process))
        for each in leaving:
            each.result()
        load.more(RATE)
    assert load.outcomes.keys() == {"OK"}


@pytest.mark.parametrize("number", [signal.SIGKILL, signal.SIGSTOP], ids=lambda number: number.name)
def test_a_replica_that_is_killed_or_hangs_fails_nobody(edge: Edge, gateway: Gateway, number: signal.Signals) -> None:
    """All its processes at once, while the name server goes on naming it; of three, then of two."""
    victim = edge.replicas[0]
    with edge.channel() as channel, Load(channel, MESSAGES) as load:
        load.more(RATE)
        victim.all_at_once(number)
        load.more(3 * RATE)
    victim.all_at_once(signal.SIGKILL)
    victim.process.wait()
    edge.forget(victim)
    assert load.outcomes.keys() == {"OK"}


def answer(channel: grpc.Channel, call: str, request: bytes) -> str:
    """Name of the status."""
    return str(channel.unary_unary(call).future(request, timeout=PATIENCE).code().name)
