"""The committed dashboard is what the code makes, and asks Prometheus what Prometheus understands."""

from __future__ import annotations

import json
from pathlib import Path

import yaml

from deploy.observability import dashboard
from tests.charts import CHART, render
from tests.unit.deploy.observability.test_rules import RULES, promtool


def expressions() -> list[str]:
    """Of all panels of the file."""
    panels = json.loads(dashboard.FILE.read_text())["panels"]
    return [target["expr"] for panel in panels for target in panel.get("targets", ())]


def test_the_file_is_what_the_code_makes() -> None:
    assert dashboard.FILE.read_text() == dashboard.build(), "python -m deploy.observability.dashboard writes it"


def test_every_panel_fits_and_asks_the_chosen_source() -> None:
    panels = json.loads(dashboard.FILE.read_text())["panels"]
    places = [(panel["gridPos"]["x"], panel["gridPos"]["y"]) for panel in panels]
    assert len(set(places)) == len(places)
    for panel in panels:
        assert panel["gridPos"]["x"] + panel["gridPos"]["w"] <= 24
        if panel["type"] != "row":
            assert panel["datasource"]["uid"] == "${datasource}"
            assert panel["targets"]


def test_prometheus_understands_every_panel(tmp_path: Path) -> None:
    rules = [{"record": f"panel:{number}", "expr": asked} for number, asked in enumerate(expressions())]
    (tmp_path / "panels.yaml").write_text(yaml.safe_dump({"groups": [{"name": "panels", "rules": rules}]}))
    promtool("check", "rules", tmp_path / "panels.yaml")


def test_what_the_rules_record_is_shown() -> None:
    recorded = {rule.get("record") for group in yaml.safe_load(RULES.read_text())["groups"] for rule in group["rules"]}
    asked = {name for name in expressions() if name.startswith("alexnet:")}
    assert asked <= recorded
    long_windows = {name for name in recorded if name and name.endswith(("_rate1h", "_rate6h"))}
    assert recorded - asked - long_windows <= {
        None,
        "alexnet:probes_failed:ratio_rate5m",
        "alexnet:canary_watched:bool",
        "alexnet:canary_call_images:mean5m",
        "alexnet:canary_class_images:count5m",
    }


def test_the_chart_brings_it_to_grafanas_sidecar() -> None:
    (found,) = [each for each in render(CHART / "ci" / "monitoring-values.yaml") if each["kind"] == "ConfigMap"]
    assert found["metadata"]["labels"]["grafana_dashboard"] == "1"
    assert json.loads(found["data"]["alexnet-serving.json"]) == json.loads(dashboard.build())
    assert not [each for each in render(CHART / "ci" / "claim-values.yaml") if each["kind"] == "ConfigMap"]
