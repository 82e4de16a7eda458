"""A real Prometheus, a real Alertmanager and who is called by it, all on loopback and in a hurry."""

from __future__ import annotations

import json
import subprocess
import sys
import threading
import urllib.parse
import urllib.request
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import yaml

from deploy.serve.ports import free_ports
from tests.charts import CHART
from tests.conftest import ROOT

FOLDER = ROOT / "deploy" / "observability"
RULES = CHART / "files" / "rules.yaml"


def recorded() -> list[str]:
    """What the rules record."""
    groups = yaml.safe_load(RULES.read_text())["groups"]
    return [rule["record"] for group in groups for rule in group["rules"] if "record" in rule]


@contextmanager
def running(binary: str, folder: Path, *arguments: str) -> Iterator[None]:
    """A program that the Makefile installs beside Python, until the block ends."""
    command = [str(Path(sys.executable).with_name(binary)), *arguments]
    with (folder / "log").open("w") as log, subprocess.Popen(command, stderr=log, stdout=log) as process:
        try:
            yield
        finally:
            process.terminate()


def _ask(url: str) -> Any:
    """What it answers, JSON; None while it does not."""
    try:
        with urllib.request.urlopen(url) as answer:
            return json.load(answer)
    except OSError:
        return None


class Prometheus:
    """The repository's configuration and rules, but in a hurry, and an alert's first sight is enough."""

    def __init__(
        self,
        folder: Path,
        targets: dict[str, Sequence[str]],
        alertmanager: str | None = None,
        every: str = "1s",
        labels: dict[str, dict[str, str]] | None = None,
        patient: bool = False,
    ) -> None:
        """Write its configuration.

        Args:
            targets: job -> addresses; others have none.
            alertmanager: its address.
            every: how often it looks, and evaluates.
            patient: alerts want to be seen for as long as the rules say.
            labels: address -> labels that its metrics get, as the operator gives them by a pod's.
        """
        folder.mkdir()
        config = yaml.safe_load((FOLDER / "prometheus.yml").read_text())
        config["global"] = dict.fromkeys(config["global"], every)
        rules = yaml.safe_load(RULES.read_text())
        for group in rules["groups"]:
            group["interval"] = every
            for rule in group["rules"]:
                if not patient:
                    rule.pop("for", None)
        (folder / "rules.yaml").write_text(yaml.safe_dump(rules))
        config["rule_files"] = ["rules.yaml"]
        for job in config["scrape_configs"]:
            job["static_configs"] = [
                {"targets": [target], "labels": (labels or {}).get(target, {})}
                for target in targets.get(job["job_name"], ())
            ]
        told = [alertmanager] if alertmanager else []
        config["alerting"]["alertmanagers"] = [{"static_configs": [{"targets": told}]}]
        (folder / "prometheus.yml").write_text(yaml.safe_dump(config))
        self._folder = folder
        #: Its address.
        self.url = f"127.0.0.1:{free_ports().http}"

    @contextmanager
    def running(self) -> Iterator[None]:
        """Until the block ends."""
        options = (f"--storage.tsdb.path={self._folder / 'data'}", f"--web.listen-address={self.url}")
        with running("prometheus", self._folder, f"--config.file={self._folder / 'prometheus.yml'}", *options):
            yield

    def ask(self, expression: str) -> list[dict[str, Any]]:
        """The samples of an expression now; none while it does not answer."""
        answer = _ask(f"http://{self.url}/api/v1/query?{urllib.parse.urlencode({'query': expression})}")
        return answer["data"]["result"] if answer else []


class Alertmanager:
    """The repository's configuration, but at once, and what it sends comes here."""

    def __init__(self, folder: Path) -> None:
        folder.mkdir()
        self._folder = folder
        self.url = f"127.0.0.1:{free_ports().http}"
        self._sent: list[tuple[str, str, str]] = []
        sent = self._sent

        class Receiver(BaseHTTPRequestHandler):
            def do_POST(self) -> None:
                alerts = json.loads(self.rfile.read(int(self.headers["Content-Length"])))["alerts"]
                for alert in alerts:
                    if alert["status"] == "firing":
                        labels = alert["labels"]
                        sent.append((self.path.strip("/"), labels["alertname"], labels.get("model", "")))
                self.send_response(200)
                self.end_headers()

            def log_message(self, *_: object) -> None:
                pass

        self._receiver = ThreadingHTTPServer(("127.0.0.1", 0), Receiver)
        config = yaml.safe_load((FOLDER / "alertmanager.yml").read_text())
        for route in (config["route"], *config["route"]["routes"]):
            route |= {"group_wait": "1s", "group_interval": "1s"}
        for receiver in config["receivers"]:
            for hook in receiver["webhook_configs"]:
                path = urllib.parse.urlparse(hook["url"]).path
                hook["url"] = f"http://127.0.0.1:{self._receiver.server_port}{path}"
        (folder / "alertmanager.yml").write_text(yaml.safe_dump(config))

    @contextmanager
    def running(self) -> Iterator[None]:
        """Until the block ends."""
        thread = threading.Thread(target=self._receiver.serve_forever, args=(0.05,))
        thread.start()
        options = (f"--storage.path={self._folder}", f"--web.listen-address={self.url}", "--cluster.listen-address=")
        config = f"--config.file={self._folder / 'alertmanager.yml'}"
        try:
            with running("prometheus-alertmanager", self._folder, config, *options):
                yield
        finally:
            self._receiver.shutdown()
            self._receiver.server_close()
            thread.join()

    def sent(self, receiver: str, alert: str, model: str = "") -> bool:
        """Whether that receiver, ``pages`` or ``tickets``, was told."""
        return (receiver, alert, model) in self._sent

    def inhibited(self) -> set[str]:
        """Alerts that fire and are not told, as another says it all."""
        alerts = _ask(f"http://{self.url}/api/v2/alerts") or []
        return {alert["labels"]["alertname"] for alert in alerts if alert["status"]["inhibitedBy"]}
