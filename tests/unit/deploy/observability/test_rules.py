"""Rules and alerts by promtool: they parse, fire when they should, and have a page that says what to do."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path

import yaml

from deploy.serve.admission import SECONDS
from tests.charts import CHART, of_kind, render
from tests.conftest import ROOT

FOLDER = ROOT / "deploy" / "observability"
RULES = CHART / "files" / "rules.yaml"
GROUPS = yaml.safe_load(RULES.read_text())["groups"]
ALERTS = [rule for group in GROUPS for rule in group["rules"] if "alert" in rule]


def promtool(*arguments: object, tool: str = "promtool") -> None:
    command = [Path(sys.executable).with_name(tool), *arguments]
    done = subprocess.run(list(map(str, command)), capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr


def test_configuration_and_rules_are_prometheuss() -> None:
    promtool("check", "config", FOLDER / "prometheus.yml")
    promtool("check", "rules", RULES)


def test_alertmanagers_configuration_is_alertmanagers_and_names_alerts_that_there_are() -> None:
    path = FOLDER / "alertmanager.yml"
    promtool("check-config", path, tool="amtool")
    assert set(re.findall(r'alertname="(\w+)"', path.read_text())) <= {alert["alert"] for alert in ALERTS}


def test_alerts_fire_when_they_should_and_are_quiet_when_all_is_well() -> None:
    promtool("test", "rules", FOLDER / "rules_test.yaml")
    well, *ill = yaml.safe_load((FOLDER / "rules_test.yaml").read_text())["tests"]
    names = {alert["alert"] for alert in ALERTS}
    assert {test["alertname"] for test in well["alert_rule_test"]} == names
    assert {
        test["alertname"] for each in ill for test in each.get("alert_rule_test", []) if test.get("exp_alerts")
    } == names


def test_every_alert_has_a_section_in_the_runbook() -> None:
    sections = {title.lower() for title in re.findall(r"^## (\w+)$", (FOLDER / "RUNBOOK.md").read_text(), re.MULTILINE)}
    for alert in ALERTS:
        page, section = alert["annotations"]["runbook_url"].split("#")
        assert (ROOT / page) == FOLDER / "RUNBOOK.md"
        assert section in sections
        assert alert["labels"]["severity"] in {"page", "ticket"}


def test_the_runbook_speaks_of_rules_that_there_are() -> None:
    recorded = {rule["record"] for group in GROUPS for rule in group["rules"] if "record" in rule}
    assert set(re.findall(r"alexnet:\w+:\w+", (FOLDER / "RUNBOOK.md").read_text())) <= recorded


def test_the_chart_brings_the_same_rules() -> None:
    rule = of_kind(render(CHART / "ci" / "monitoring-values.yaml"), "PrometheusRule")
    assert rule["spec"]["groups"] == GROUPS


def test_what_the_autoscaler_asks_parses_and_is_recorded(tmp_path: Path) -> None:
    triggers = of_kind(render(CHART / "ci" / "autoscaling-values.yaml"), "ScaledObject")["spec"]["triggers"]
    queries = [trigger["metadata"]["query"] for trigger in triggers]
    rules = [{"record": f"asked:{number}", "expr": query} for number, query in enumerate(queries)]
    (tmp_path / "rules.yaml").write_text(yaml.safe_dump({"groups": [{"name": "asked", "rules": rules}]}))
    promtool("check", "rules", tmp_path / "rules.yaml")
    recorded = {rule["record"] for group in GROUPS for rule in group["rules"] if "record" in rule}
    assert set(re.findall(r"alexnet:\w+:\w+", " ".join(queries))) <= recorded


def test_a_call_that_is_refused_counts_as_what_the_door_lets_wait() -> None:
    (signal,) = [
        rule for group in GROUPS for rule in group["rules"] if rule.get("record") == "alexnet:pressure_seconds:mean1m"
    ]
    assert f"clamp_min({SECONDS} - " in signal["expr"]


def test_the_runbook_is_where_the_values_say() -> None:
    page = "https://wiki.example/alexnet"
    rule = of_kind(render(CHART / "ci" / "monitoring-values.yaml", f"monitoring.runbook={page}"), "PrometheusRule")
    alerts = [rule for group in rule["spec"]["groups"] for rule in group["rules"] if "alert" in rule]
    assert {alert["annotations"]["runbook_url"].partition("#")[0] for alert in alerts} == {page}
