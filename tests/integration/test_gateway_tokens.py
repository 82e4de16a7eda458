"""Who is let in by a token, as ``ci/tokens-values.yaml`` renders the gateway, before a replica that notes all."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import grpc
import numpy as np
import pytest

from alexnet_client import TLS, AlexNetClient
from alexnet_client.contract import IMAGE
from deploy.loadtest.workload import workload
from deploy.serve.envoy import HEALTH, INFER, METHODS, SERVICE
from deploy.serve.ports import free_ports
from tests.certificates import Certificates
from tests.charts import CHART, render
from tests.fake_triton import FakeTriton
from tests.gateways import Gateway, Secret
from tests.loads import ONCE, RATE, Load
from tests.names import Names
from tests.tokens import ISSUER, Signer, key_set
from tests.waiting import PATIENCE, wait_until

PICTURE = np.zeros(IMAGE.shape, np.uint8)
MESSAGES = workload("alexnet_int8", [PICTURE]).messages
NAME, ADDRESS = "triton.example", "127.0.0.11"
BURST = 100
ONE, OTHER = Signer("one"), Signer("other")


@dataclass
class Edge:
    """A gateway, and the Secret with the keys."""

    gateway: Gateway
    certificates: Certificates
    keys: Secret
    replica: FakeTriton

    def status(self, call: str, token: str | None, request: bytes = b"") -> str:
        """Of one call, by its name."""
        with grpc.secure_channel(self.gateway.url, self.tls(token).credentials(), self.options) as channel:
            return str(channel.unary_unary(call).future(request, timeout=PATIENCE).code().name)

    def tls(self, token: str | None) -> TLS:
        return TLS(self.certificates.folder / "ca.pem", server_name=NAME, token=token)

    @property
    def options(self) -> list[tuple[str, object]]:
        return [*ONCE, ("grpc.ssl_target_name_override", NAME)]


@pytest.fixture(scope="module")
def edge(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Edge]:
    folder, ports = tmp_path_factory.mktemp("edge"), free_ports()
    (folder / "certificates").mkdir()
    certificates = Certificates(folder / "certificates")
    keys = Secret(folder / "tokens")
    keys.put({"jwks.json": key_set(ONE)})
    Secret(folder / "tls").write(certificates)
    with FakeTriton(url=f"{ADDRESS}:{free_ports().grpc}") as replica, Names().answering() as names:
        names.addresses = (ADDRESS,)
        settings = {
            "tls.secretName": "",
            "tls.clientCertificates": "false",
            "server.grpcPort": replica.url.rpartition(":")[2],
            "gateway.host": ports.host,
            "gateway.grpcPort": ports.grpc,
            "gateway.operationsPort": ports.metrics,
            "gateway.preStopSeconds": 1,
            "gateway.tokens.issuer": ISSUER,
            # More than our load.
            "gateway.rateLimit.requestsPerSecond": 50,
            "gateway.rateLimit.burst": BURST,
        }
        values = CHART / "ci" / "tokens-values.yaml"
        manifests = render(values, *(f"{key}={value}" for key, value in settings.items()))
        with Gateway(manifests, folder, ports, names).running() as gateway:
            edge = Edge(gateway, certificates, keys, replica)
            wait_until(lambda: edge.status(INFER, ONE.token(), MESSAGES[0]) == "OK", "the first key")
            yield edge


def test_who_shows_no_token_may_ask_for_health_and_nothing_else(edge: Edge) -> None:
    assert edge.status(f"{HEALTH}Check", None) == "OK"
    for method in (*METHODS, "RepositoryModelLoad"):
        assert edge.status(f"{SERVICE}/{method}", None) == "UNAUTHENTICATED", method
    assert edge.status(f"{SERVICE}/ServerReady", ONE.token()) == "OK"
    assert edge.status(f"{SERVICE}/RepositoryModelLoad", ONE.token()) == "PERMISSION_DENIED"


@pytest.mark.parametrize(
    ("token", "status"),
    [
        ("nonsense", "UNAUTHENTICATED"),
        (OTHER.token(), "UNAUTHENTICATED"),
        (Signer("one").token(), "UNAUTHENTICATED"),  # another key of that name
        (ONE.token(exp=1), "UNAUTHENTICATED"),
        (ONE.token(iss="https://other.example"), "UNAUTHENTICATED"),
        (ONE.token(aud="another service"), "PERMISSION_DENIED"),
    ],
    ids=["no token", "unknown key", "forged", "expired", "another issuer's", "for another"],
)
def test_a_token_that_is_not_for_us_is_refused(edge: Edge, token: str, status: str) -> None:
    before = edge.replica.calls["ModelInfer"]
    assert edge.status(INFER, token, MESSAGES[0]) == status
    assert edge.replica.calls["ModelInfer"] == before


def test_the_client_shows_what_its_file_has_and_the_replica_does_not_see_it(edge: Edge, tmp_path: Path) -> None:
    (tmp_path / "token").write_text(ONE.token())
    environment = {
        "ALEXNET_TLS_CA": str(edge.certificates.folder / "ca.pem"),
        "ALEXNET_TLS_SERVER_NAME": NAME,
        "ALEXNET_TOKEN_FILE": str(tmp_path / "token"),
    }
    edge.replica.metadata.clear()
    with AlexNetClient(edge.gateway.url, "alexnet_int8", tls=TLS.from_environment(environment)) as client:
        client.embed(PICTURE)
    assert edge.replica.metadata
    assert all("authorization" not in each for each in edge.replica.metadata)


def test_keys_are_renewed_and_nobody_notices(edge: Edge) -> None:
    """The next one beside it, then alone; a file that is none changes nothing."""
    credentials = edge.tls(OTHER.token(sub="load")).credentials()
    edge.keys.put({"jwks.json": key_set(ONE, OTHER)})
    wait_until(lambda: edge.status(INFER, OTHER.token(), MESSAGES[0]) == "OK", "the new key")
    assert edge.status(INFER, ONE.token(), MESSAGES[0]) == "OK"
    with (
        grpc.secure_channel(edge.gateway.url, credentials, edge.options) as channel,
        Load(channel, MESSAGES) as load,
    ):
        edge.keys.put({"jwks.json": key_set(OTHER)})
        wait_until(lambda: edge.status(INFER, ONE.token(), MESSAGES[0]) == "UNAUTHENTICATED", "the end of the old key")
        edge.keys.put({"jwks.json": b"{"})
        load.more(6 * RATE)  # longer than keys are kept
    assert load.outcomes.keys() == {"OK"}
    edge.keys.put({"jwks.json": key_set(ONE)})
    wait_until(lambda: edge.status(INFER, ONE.token(), MESSAGES[0]) == "OK", "the first key again")


def test_who_asks_too_often_is_known_by_the_token(edge: Edge) -> None:
    """Of two callers at one address."""
    ready, greedy = f"{SERVICE}/ServerReady", ONE.token(sub="greedy")
    with grpc.secure_channel(edge.gateway.url, edge.tls(greedy).credentials(), edge.options) as channel:
        call = channel.unary_unary(ready)
        calls = [call.future(b"", timeout=PATIENCE) for _ in range(8 * BURST)]
        assert {each.code().name for each in calls} == {"OK", "RESOURCE_EXHAUSTED"}
    assert edge.status(ready, ONE.token(sub="another")) == "OK"
    assert edge.status(f"{HEALTH}Check", greedy) == "OK"
