"""The READMEs' tables of metrics say what the contract says; that a scrape does is an integration test."""

import re
from pathlib import Path

from alexnet_client.contract import CLIENT_METRICS, METRICS, PROBER_METRICS

README = Path(__file__).parents[2] / "README.md"
CLIENT_README = README.parent / "client" / "README.md"
PROBER_README = README.parent / "deploy" / "prober" / "README.md"
ROW = re.compile(r"^\| `(alexnet_\w+)` \| (\w+)[^|]* \| ([^|]*) \|$", re.MULTILINE)


def test_the_readmes_list_every_metric_with_its_kind_and_labels() -> None:
    rows = ROW.findall(README.read_text() + PROBER_README.read_text())
    listed = {name: (kind, tuple(labels.split(", "))) for name, kind, labels in rows}
    assert listed == {metric.name: (metric.kind, metric.labels) for metric in (*METRICS, *PROBER_METRICS)}


def test_the_clients_readme_lists_its_own() -> None:
    rows = re.findall(r"^\| `(alexnet_client_\w+)` \| (\w+) \|", CLIENT_README.read_text(), re.MULTILINE)
    assert rows == [(metric.name, metric.kind) for metric in CLIENT_METRICS]


def test_names_are_prometheus_names() -> None:
    for metric in (*METRICS, *CLIENT_METRICS, *PROBER_METRICS):
        assert metric.kind in ("counter", "gauge", "histogram")
        assert metric.name.endswith("_total") == (metric.kind == "counter")
        assert bool(metric.buckets) == (metric.kind == "histogram")
        assert list(metric.buckets) == sorted(set(metric.buckets))
