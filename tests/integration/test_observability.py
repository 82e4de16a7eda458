"""A real Prometheus, a real Alertmanager and the prober watch a real server: under load, and while it goes wrong.

One server for all, so the tests stand in the order of what is done to it.
"""

from __future__ import annotations

import asyncio
import os
import shutil
import signal
import subprocess
import sys
import threading
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path

import numpy as np
import pytest
from prometheus_client import Metric
from prometheus_client.parser import text_string_to_metric_families

from alexnet_client import AlexNetClient, AlexNetError, AsyncAlexNetClient, Outputs, Retry
from alexnet_client.contract import CLIENT_METRICS, IMAGE, PROBE_ID, PROBER_METRICS
from deploy.prober.expected import of_release
from deploy.serve import processes
from deploy.serve.ports import free_ports
from deploy.serve.probe import check
from deploy.serve.server import LocalServer
from deploy.serve.tls import ServerTLS
from export.artefacts import artefact, manifest
from export.proof import golden
from tests.artefacts import change
from tests.certificates import Certificates
from tests.conftest import ROOT, Built, environment
from tests.observing import Alertmanager, Prometheus, recorded
from tests.unit.deploy.observability.test_dashboard import expressions
from tests.waiting import PATIENCE, wait_until
from training.data.open import open_split

NETWORK = "alexnet_int8"
#: More than the door lets in, which is 96 at least and what is answered in half a second.
CALLERS = 200


@dataclass(frozen=True)
class Scene:
    """All that runs."""

    server: LocalServer
    certificates: Certificates
    prometheus: Prometheus
    alertmanager: Alertmanager
    #: Of the probers' metrics.
    ports: tuple[int, int]

    def client(self, model: str) -> AlexNetClient:
        return AlexNetClient(self.server.grpc_url, model, PATIENCE, tls=self.certificates.tls)

    @contextmanager
    def prober(self, port: int, *arguments: object) -> Iterator[str]:
        """Where a prober has its metrics; it ends by SIGTERM, in order."""
        command = [sys.executable, "-m", "deploy.prober", "--url", self.server.grpc_url, "--port", port, *arguments]
        env = environment() | {"ALEXNET_TLS_CA": str(self.certificates.tls.ca)}
        process = subprocess.Popen(
            [*map(str, command), "--interval=0.1"], cwd=ROOT, env=env, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL
        )
        with process:
            try:
                assert process.stdout is not None
                assert b"probing" in process.stdout.readline()
                yield f"http://127.0.0.1:{port}/metrics"
                process.send_signal(signal.SIGTERM)
                assert process.wait(PATIENCE) == 0
            finally:
                process.kill()

    def fires(self, receiver: str, alert: str, model: str = "") -> None:
        """Wait until Alertmanager has told that receiver."""
        wait_until(lambda: self.alertmanager.sent(receiver, alert, model), f"{alert} {model} among {receiver}")


@pytest.fixture(scope="module")
def scene(int8_repository: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Scene]:
    folder = tmp_path_factory.mktemp("scene")
    certificates = Certificates(folder, not_after=datetime.now(UTC) + timedelta(days=10))
    tls = ServerTLS(folder / "server.pem", folder / "server.key", None)
    ports = free_ports()
    alertmanager = Alertmanager(folder / "alertmanager")
    with (
        alertmanager.running(),
        LocalServer(int8_repository, use_free_ports=True, work=folder / "work", tls=tls) as server,
    ):
        metrics = [f"{server.ports.host}:{server.ports.metrics}"]
        probers = [f"127.0.0.1:{port}" for port in (ports.grpc, ports.metrics)]
        targets = {"alexnet": metrics, "alexnet-door": metrics, "alexnet-prober": probers}
        prometheus = Prometheus(folder / "prometheus", targets, alertmanager.url)
        with prometheus.running():
            yield Scene(server, certificates, prometheus, alertmanager, (ports.grpc, ports.metrics))


@pytest.fixture(scope="module")
def spoilt(built: Built, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """An artefact whose golden answers are not those of the network that serves."""
    folder = tmp_path_factory.mktemp("spoilt") / "int8-cpu"
    folder.mkdir()
    for name in (artefact.GOLDEN_FILE, artefact.LABELS_FILE, manifest.FILE_NAME):
        shutil.copy(built.artefacts / "int8-cpu" / name, folder / name)
    images, answers = golden.read(folder / artefact.GOLDEN_FILE)
    population = golden.read_population(folder / artefact.GOLDEN_FILE)
    others = Outputs(answers.probabilities, -answers.embedding)
    golden.write(folder / artefact.GOLDEN_FILE, images, others, population)
    change(folder)
    return folder


def scrape(url: str) -> dict[str, Metric]:
    """Metric families by name."""
    with urllib.request.urlopen(url) as answer:
        return {family.name: family for family in text_string_to_metric_families(answer.read().decode())}


def test_probes_are_not_counted_as_traffic_and_nobody_else_passes_for_one(scene: Scene) -> None:
    """Neither the supervisor's questions, which never cease, nor golden images; all else is, whatever it is called."""

    def count(family: str) -> float:
        return sum(sample.value for sample in scrape(scene.server.metrics_url)[family].samples)

    url, tls = scene.server.grpc_url, scene.certificates.tls
    with AlexNetClient(url, NETWORK, PATIENCE, tls=tls, id_prefix=PROBE_ID) as stranger:
        stranger.infer(np.zeros((5, *IMAGE.shape), np.uint8))
    wait_until(lambda: count("alexnet_top1_images") == 5, "five images of traffic")
    golden_files = of_release(scene.server.repository, "alexnet").files
    check(url, PATIENCE, tls=tls)
    with scene.client("alexnet") as client:
        assert client.health(infer=True).ok
        client.infer(golden_files)
    asked = count("alexnet_images")
    assert asked > 5 + len(golden_files)
    wait_until(lambda: count("alexnet_images") > asked + 10, "the supervisor's questions")
    assert count("alexnet_top1_images") == count("alexnet_embedded_images") == 5


def test_every_rule_and_panel_has_data_and_what_is_wrong_is_told(scene: Scene, built: Built, spoilt: Path) -> None:
    """Load of black pictures, which drift; a certificate of ten days; a prober that expects other answers."""
    files = [open_split(built.data, "test").file(place) for place in range(8)]
    black = np.zeros((32, *IMAGE.shape), np.uint8)
    done = threading.Event()

    def load() -> None:
        with scene.client("alexnet") as ensemble, scene.client(NETWORK) as network:
            while not done.is_set():
                for client, images in ((ensemble, files), (network, black), (ensemble, b"no image")):
                    with suppress(AlexNetError):
                        client.infer(images)

    thread = threading.Thread(target=load)
    thread.start()
    try:
        with scene.prober(scene.ports[0], "--model", NETWORK, "--golden", spoilt) as url:
            for asked in (*recorded(), *expressions()):
                if "canary" in asked:  # see test_canary.py
                    continue
                wait_until(lambda asked=asked: scene.prometheus.ask(asked), f"a sample of {asked}")
            images = scene.prometheus.ask("sum(alexnet:images:rate1m)")
            assert float(images[0]["value"][1]) > 0
            (rejected,) = scene.prometheus.ask("sum(alexnet_rejected_images_total)")
            assert float(rejected["value"][1]) > 0
            scene.fires("pages", "AlexNetWrongAnswers", NETWORK)
            scene.fires("tickets", "AlexNetClassDrift", NETWORK)
            scene.fires("tickets", "AlexNetCertificateExpires")
            families = scrape(url)
    finally:
        done.set()
        thread.join()
    assert {each for each in families if each.startswith("alexnet_prober_")} == {
        metric.name.removesuffix("_total") for metric in PROBER_METRICS
    }
    for metric in (*PROBER_METRICS, *CLIENT_METRICS):
        family = families[metric.name.removesuffix("_total")]
        assert family.type == metric.kind
        assert {tuple(sorted(set(each.labels) - {"le"})) for each in family.samples} <= {tuple(sorted(metric.labels))}
    assert not scene.alertmanager.sent("pages", "AlexNetOverloaded")
    assert not scene.alertmanager.sent("pages", "AlexNetGone")


def test_a_dead_backend_is_told_by_the_prober(scene: Scene, int8_repository: Path) -> None:
    right = 'alexnet_prober_probes_total{model="alexnet", outcome="ok"}'

    def successes() -> float:
        return sum(float(each["value"][1]) for each in scene.prometheus.ask(right))

    with scene.prober(scene.ports[1], "--repository", int8_repository):
        wait_until(lambda: successes() > 0, "right answers")
        assert scene.server.pid is not None
        for stub, model in processes.stubs(scene.server.pid).items():
            if model == NETWORK:
                os.kill(stub, signal.SIGKILL)
        scene.fires("pages", "AlexNetProbesFail", "alexnet")
        before = successes()
        wait_until(lambda: successes() > before, "right answers again")
    assert not scene.alertmanager.sent("pages", "AlexNetWrongAnswers", "alexnet")


def test_overload_is_told(scene: Scene) -> None:
    done = asyncio.Event()
    black = np.zeros(IMAGE.shape, np.uint8)

    async def caller(client: AsyncAlexNetClient) -> None:
        while not done.is_set():
            try:
                await client.embed(black)
            except AlexNetError:
                await asyncio.sleep(0.1)

    async def flood() -> None:
        url, tls = scene.server.grpc_url, scene.certificates.tls
        async with AsyncAlexNetClient(url, NETWORK, PATIENCE, tls=tls, retry=Retry(attempts=1)) as client:
            callers = [asyncio.create_task(caller(client)) for _ in range(CALLERS)]
            try:
                await asyncio.to_thread(scene.fires, "pages", "AlexNetOverloaded")
            finally:
                done.set()
                await asyncio.gather(*callers)

    asyncio.run(flood())


def test_when_nobody_is_there_that_alone_is_told(scene: Scene) -> None:
    scene.server.stop()
    scene.fires("pages", "AlexNetGone")
    wait_until(lambda: "AlexNetWrongAnswers" in scene.alertmanager.inhibited(), "alerts that Gone inhibits")
    assert "AlexNetGone" not in scene.alertmanager.inhibited()
