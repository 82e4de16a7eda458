"""The commands of deploy/RELEASES.md, one after the other, rendered in place of a cluster's upgrade."""

from __future__ import annotations

import re
from typing import Any

import yaml

from tests.charts import CHART, helm, of_kind
from tests.conftest import ROOT

PAGE = (ROOT / "deploy" / "RELEASES.md").read_text()
#: What was installed before.
BEFORE = ("models.persistentVolumeClaim=alexnet-models", "gateway.enabled=true", "monitoring.enabled=true")


def path_of(manifests: list[dict[str, Any]], name: str) -> str:
    container = of_kind(manifests, "Deployment", name)["spec"]["template"]["spec"]["containers"][0]
    (argument,) = [each for each in container["args"] if each.startswith("--repository=")]
    return str(argument.removeprefix("--repository=/models/"))


def test_each_step_is_what_the_page_says() -> None:
    commands = re.findall(r"^helm upgrade alexnet (\S+) --reuse-values --set (\S+)$", PAGE, re.MULTILINE)
    seen: list[tuple[str, str | None]] = []
    settings = [*BEFORE, "models.path=repository.releases/7"]
    for chart, setting in commands:
        assert ROOT / chart == CHART
        settings.append(setting)
        done = helm("template", "alexnet", CHART, *(part for each in settings for part in ("--set", each)))
        assert done.returncode == 0, done.stderr
        manifests = [each for each in yaml.safe_load_all(done.stdout) if each]
        canaries = [each for each in manifests if each["metadata"]["name"].endswith("-serving-canary")]
        stable = path_of(manifests, "alexnet-alexnet-serving")
        seen.append((stable, path_of(manifests, "-canary") if canaries else None))
    number = "repository.releases/8"
    assert seen == [(number, None), (number, number), (number, number), (number, None)]
