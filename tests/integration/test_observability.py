"""A real Prometheus scrapes a real server under load, and every rule has something to say."""

from __future__ import annotations

import json
import subprocess
import sys
import threading
import urllib.parse
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

import numpy as np
import yaml

from alexnet_client import AlexNetClient, AlexNetError
from alexnet_client.contract import IMAGE
from deploy.serve.ports import free_ports
from deploy.serve.server import LocalServer
from tests.charts import CHART
from tests.conftest import ROOT, Built
from tests.waiting import PATIENCE, wait_until
from training.data.open import open_split

FOLDER = ROOT / "deploy" / "observability"
RULES = CHART / "files" / "rules.yaml"
RECORDED = [
    rule["record"]
    for group in yaml.safe_load(RULES.read_text())["groups"]
    for rule in group["rules"]
    if "record" in rule
]


class Prometheus:
    """One that looks every second, at one server."""

    def __init__(self, target: str, folder: Path) -> None:
        config = yaml.safe_load((FOLDER / "prometheus.yml").read_text())
        config["global"] = dict.fromkeys(config["global"], "1s")
        rules = yaml.safe_load(RULES.read_text())
        for group in rules["groups"]:
            group["interval"] = "1s"
        (folder / "rules.yaml").write_text(yaml.safe_dump(rules))
        config["rule_files"] = ["rules.yaml"]
        for job in config["scrape_configs"]:
            job["static_configs"] = [{"targets": [target]}]
        (folder / "prometheus.yml").write_text(yaml.safe_dump(config))
        self._folder = folder
        self._url = f"127.0.0.1:{free_ports().http}"

    @contextmanager
    def running(self) -> Iterator[None]:
        command = [Path(sys.executable).with_name("prometheus"), f"--config.file={self._folder / 'prometheus.yml'}"]
        command += [f"--storage.tsdb.path={self._folder / 'data'}", f"--web.listen-address={self._url}"]
        with (self._folder / "log").open("w") as log, subprocess.Popen(command, stderr=log, stdout=log) as process:
            try:
                yield
            finally:
                process.terminate()

    def ask(self, expression: str) -> list[dict]:
        """The samples of an expression now; none while it does not answer."""
        query = urllib.parse.urlencode({"query": expression})
        try:
            with urllib.request.urlopen(f"http://{self._url}/api/v1/query?{query}") as answer:
                return json.load(answer)["data"]["result"]
        except OSError:
            return []


def test_every_rule_has_data_of_a_server_under_load(built: Built, int8_repository: Path, tmp_path: Path) -> None:
    files = [open_split(built.data, "test").file(place) for place in range(8)]
    pixels = np.random.default_rng(0).integers(0, 256, (8, *IMAGE.shape), np.uint8)
    done = threading.Event()

    def load(server: LocalServer) -> None:
        with (
            AlexNetClient(server.grpc_url, timeout=PATIENCE) as ensemble,
            AlexNetClient(server.grpc_url, "alexnet_int8", timeout=PATIENCE) as network,
        ):
            while not done.is_set():
                for client, images in ((ensemble, files), (network, pixels), (ensemble, b"no image")):
                    with suppress(AlexNetError):
                        client.embed(images)

    with LocalServer(int8_repository, use_free_ports=True, work=tmp_path / "work") as server:
        prometheus = Prometheus(f"{server.ports.host}:{server.ports.metrics}", tmp_path)
        thread = threading.Thread(target=load, args=(server,))
        thread.start()
        try:
            with prometheus.running():
                for name in RECORDED:
                    wait_until(lambda name=name: prometheus.ask(name), f"a sample of {name}")
                wait_until(lambda: float(prometheus.ask("sum(alexnet:images:rate1m)")[0]["value"][1]) > 0, "images")
                (rejected,) = prometheus.ask("sum(alexnet_rejected_images_total)")
                assert float(rejected["value"][1]) > 0
                assert not prometheus.ask('ALERTS{alertstate="firing"}')
        finally:
            done.set()
            thread.join()
