"""A release beside another, behind the chart's gateway and a real Prometheus: a worse one is ended, a good one gets it.

Both are as ``ci/canary-values.yaml`` renders them, but for addresses and the numbers in :data:`SETTINGS`; Prometheus is
in a hurry. Who was asked is read from Envoy.
"""

from __future__ import annotations

import json
import shutil
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import grpc
import numpy as np
import onnx
import pytest
from onnx import numpy_helper

from alexnet_client.contract import TRACK
from deploy.gateway.canary import PERCENT
from deploy.loadtest.workload import Workload, workload
from deploy.serve.envoy import INFER
from deploy.serve.ports import Ports, free_ports
from deploy.serve.server import LocalServer
from deploy.serve.unix_http import ask
from export.artefacts import artefact, manifest
from export.publish import publish
from tests.artefacts import change
from tests.charts import CHART, of_kind, render
from tests.conftest import Built
from tests.gateways import Gateway
from tests.loads import ONCE, RATE, Load
from tests.names import Names
from tests.observing import Prometheus, recorded
from tests.pods import Pod
from tests.unit.deploy.observability.test_dashboard import expressions
from tests.waiting import PATIENCE, wait_until
from training.data.open import open_split

#: Envoy's names for the servers of both, and where they are.
STABLE, CANARY = "replicas", "canary-replicas"
HOSTS = {STABLE: "127.0.0.31", CANARY: "127.0.0.32"}
#: Percent; and seconds that a step takes where one is to see the next.
FIRST, STEP = 10, 4
#: Nobody's pace on a busy machine is judged.
SETTINGS = {
    "gateway.perTryTimeout": "20s",
    "gateway.rateLimit.requestsPerSecond": 10 * RATE,
    "gateway.rateLimit.burst": 100 * RATE,
}


@dataclass
class Edge:
    """A gateway before two releases, what watches them, and who gives the canary its share."""

    gateway: Gateway
    canary: LocalServer
    admin: Path
    manifests: list[dict[str, Any]]
    folder: Path
    prometheus: Prometheus

    @contextmanager
    def sharing(self) -> Iterator[None]:
        """The gateway's other container."""
        with Pod(of_kind(self.manifests, "Deployment", "gateway"), self.folder, container="canary").running():
            yield

    @property
    def percent(self) -> int:
        """The canary's share."""
        entries = json.loads(ask(self.admin, "/runtime"))["entries"]
        return int(entries[PERCENT]["final_value"]) if PERCENT in entries else 0

    def asked(self) -> Counter[str]:
        """Cluster -> inferences that its servers were sent so far."""
        lines = ask(self.admin, f"/stats?filter=^cluster.({STABLE}|{CANARY}).upstream_rq_total").splitlines()
        counts = (line.removeprefix("cluster.").split(".upstream_rq_total: ") for line in lines)
        return Counter({cluster: int(count) for cluster, count in counts})

    def ended_by(self) -> set[str]:
        """Alerts."""
        found = self.prometheus.ask('max_over_time(ALERTS{aborts="canary", alertstate="firing"}[5m])')
        return {each["metric"]["alertname"] for each in found}


@dataclass
class Stage:
    """The release that is served, and what of the tests stays."""

    folder: Path
    ports: Ports
    load: Workload

    @contextmanager
    def edge(self, name: str, repository: Path, step_seconds: int) -> Iterator[Edge]:
        """With a canary that serves ``repository``, which claim ``name`` has."""
        folder, at, names = self.folder / name, free_ports(), Names()
        folder.mkdir()
        targets = {cluster: f"{host}:{self.ports.metrics}" for cluster, host in HOSTS.items()}
        operations = f"{at.host}:{at.metrics}"
        settings = SETTINGS | {
            "canary.models.persistentVolumeClaim": name,
            "canary.stepSeconds": step_seconds,
            "canary.addresses": f"{{{HOSTS[CANARY]}}}",
            "gateway.addresses": f"{{{HOSTS[STABLE]}}}",
            "server.grpcPort": self.ports.grpc,
            "gateway.host": at.host,
            "gateway.grpcPort": at.grpc,
            "gateway.operationsPort": at.metrics,
            "canary.prometheus": "http://PROMETHEUS",
        }

        def rendered(**more: object) -> list[dict[str, Any]]:
            values = CHART / "ci" / "canary-values.yaml"
            return render(values, *(f"{key}={value}" for key, value in (settings | more).items()))

        label = of_kind(rendered(), "Deployment", "canary")["spec"]["template"]["metadata"]["labels"]["canary"]
        prometheus = Prometheus(
            folder / "prometheus",
            {"alexnet": list(targets.values()), "alexnet-gateway": [operations]},
            labels={
                targets[STABLE]: {"track": "stable"},
                targets[CANARY]: {"track": "canary", "canary": label},
                operations: {"canary": label},
            },
            patient=True,
        )
        manifests = rendered(**{"canary.prometheus": f"http://{prometheus.url}"})
        ports = replace(self.ports, host=HOSTS[CANARY])
        with (
            names.answering(),
            LocalServer(repository, ports, work=folder / "work") as canary,
            prometheus.running(),
            Gateway(manifests, folder, at, names).running() as gateway,
        ):
            yield Edge(gateway, canary, folder / "run" / "admin", manifests, folder, prometheus)


@pytest.fixture(scope="module")
def stage(built: Built, int8_repository: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Stage]:
    folder, ports = tmp_path_factory.mktemp("stage"), free_ports()
    split = open_split(built.data, "test")
    load = workload("alexnet", [split.file(place) for place in range(64)], outputs="both")
    at = replace(ports, host=HOSTS[STABLE])
    with LocalServer(int8_repository, at, work=folder / "work"):
        yield Stage(folder, ports, load)


@pytest.fixture(scope="module")
def worse(built: Built, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A release whose 8 bits are used badly, as an activation saturates; with a forged verdict it can be published."""
    folder = tmp_path_factory.mktemp("worse")
    spoilt = folder / "int8-cpu"
    shutil.copytree(built.artefacts / "int8-cpu", spoilt)
    model = onnx.load(spoilt / artefact.MODEL_FILE)
    name = [node for node in model.graph.node if node.op_type == "QuantizeLinear"][2].input[1]
    for each in model.graph.initializer:
        if each.name == name:
            each.CopyFrom(numpy_helper.from_array(np.float32(0.01) * numpy_helper.to_array(each), name))
    onnx.save(model, spoilt / artefact.MODEL_FILE)
    change(spoilt, proof=replace(manifest.read(spoilt).proof, runtime=None))
    publish(folder / "repository", [spoilt], "int8", near=[built.artefacts])
    return folder / "repository"


def test_a_worse_release_is_ended_and_stays_so(stage: Stage, worse: Path) -> None:
    with stage.edge("worse", worse, step_seconds=600) as edge, channel(edge.gateway) as to:
        with Load(to, stage.load.messages) as load:
            load.more(RATE)
            assert edge.asked()[CANARY] == 0
            with edge.sharing():
                wait_until(lambda: edge.percent == FIRST, "the first step")
                wait_until(lambda: edge.percent == 0, "the end")
                assert "AlexNetCanaryDrifts" in edge.ended_by()
                before = edge.asked()
                assert before[CANARY] > 0
                load.more(3 * RATE)
                assert edge.asked()[CANARY] - before[CANARY] <= 2  # that were under way
            with edge.sharing():  # it starts anew, and knows
                settled = edge.asked()[CANARY]
                load.more(3 * RATE)
                assert edge.percent == 0
                assert edge.asked()[CANARY] == settled
        # None of them failed; those of the worse release are not the right ones.
        assert load.outcomes.keys() == {"OK", "another picture's answer"}
        # Who wants to may look at it all the same.
        call = to.unary_unary(INFER)
        call(stage.load.messages[0], timeout=PATIENCE, metadata=[(TRACK, "canary")])
        wait_until(lambda: edge.asked()[CANARY] == settled + 1, "the canary's answer")


def test_a_good_release_gets_all(stage: Stage, int8_repository: Path) -> None:
    with (
        stage.edge("good", int8_repository, STEP) as edge,
        channel(edge.gateway) as to,
        Load(to, stage.load.messages) as load,
        edge.sharing(),
    ):
        for percent in (FIRST, 50, 100):
            wait_until(lambda percent=percent: edge.percent == percent, f"{percent} %")
            if percent == 50:  # it has data of both
                for asked in (*recorded(), *expressions()):
                    if "canary" in asked:
                        wait_until(lambda asked=asked: edge.prometheus.ask(asked), f"a sample of {asked}")
        before = edge.asked()
        load.more(3 * RATE)
        wait_until(moved(edge, before, CANARY, 2 * RATE), "answers of the canary")
        assert edge.asked()[STABLE] - before[STABLE] <= 2  # that were under way
        call = to.unary_unary(INFER)
        call(stage.load.messages[0], timeout=PATIENCE, metadata=[(TRACK, "stable")])
        wait_until(moved(edge, before, STABLE, 1), "the first release's answer")
        edge.canary.stop()  # as when it is taken away, with all the traffic
        before = edge.asked()
        load.more(3 * RATE)
        wait_until(moved(edge, before, STABLE, 2 * RATE), "answers of the first release")
    assert load.outcomes.keys() == {"OK"}


def moved(edge: Edge, before: Counter[str], cluster: str, many: int) -> Callable[[], bool]:
    """Whether it was asked so many more."""
    return lambda: edge.asked()[cluster] - before[cluster] >= many


def channel(gateway: Gateway) -> grpc.Channel:
    """To it, in plain text."""
    return grpc.insecure_channel(gateway.url, ONCE)
