"""The dashboard, written from here: ``python -m deploy.observability.dashboard``.

Grafana imports the file; the chart brings it to Grafana's sidecar. It asks for what the rules record, so that a panel
and an alert never disagree.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from grafana_foundation_sdk.builders import dashboard, prometheus, timeseries
from grafana_foundation_sdk.cog.encoder import JSONEncoder
from grafana_foundation_sdk.models.dashboard import DataSourceRef

from alexnet_client.contract import (
    PROBE_COSINE,
    PROBE_MAX_ABS_DP,
    PROBE_RELEASE_INFO,
    PROBE_SUCCESS_TIMESTAMP,
    PROBES_TOTAL,
    REFERENCE_CLASS_RATIO,
    REJECTED_TOTAL,
)
from alexnet_client.files import atomic_path

#: In the chart, where Helm finds it.
FILE = Path(__file__).parents[1] / "helm" / "alexnet-serving" / "files" / "dashboard.json"
#: Whoever opens it chooses the Prometheus.
SOURCE = "datasource"
#: Of 24 columns, how many a panel has, and how high it is.
WIDTH, HEIGHT = 8, 7

#: Legend -> expression.
Queries = dict[str, str]
#: Row -> its panels: title, Grafana's unit, queries.
ROWS: dict[str, Sequence[tuple[str, str, Queries]]] = {
    "Callers": (
        ("Inferences asked for, a second", "reqps", {"asked": "alexnet:requests:rate1m"}),
        (
            "Not taken",
            "percentunit",
            {"not taken": "alexnet:unavailable:ratio_rate5m", "too many": "alexnet:refused:ratio_rate5m"},
        ),
        (
            "Latency at the doors",
            "s",
            {"median": "alexnet:latency_seconds:p50_5m", "p99": "alexnet:latency_seconds:p99_5m"},
        ),
        ("Answers slower than 500 ms", "percentunit", {"slow": "alexnet:slow:ratio_rate5m"}),
        ("Images answered, a second", "short", {"{{model}}": "alexnet:images:rate1m"}),
        (
            "Images refused, a second",
            "short",
            {"{{reason}}": f"sum by (reason) (rate({REJECTED_TOTAL.name}[5m]))"},
        ),
    ),
    "Where the time goes": (
        ("Waiting for the network, mean", "s", {"{{model}}": "alexnet:queue_seconds:mean1m"}),
        (
            "What replicas are added for",
            "s",
            {"wait": "alexnet:wait_seconds:mean1m", "wait, the lost included": "alexnet:pressure_seconds:mean1m"},
        ),
        ("Calls lost", "percentunit", {"lost": "alexnet:lost:ratio_rate1m"}),
        ("The network on a batch, p99", "s", {"{{model}}": "alexnet:inference_seconds:p99_5m"}),
        ("Decoding an image, p99", "s", {"decode": "alexnet:decode_seconds:p99_5m"}),
        ("Images a batch, mean", "short", {"{{model}}": "alexnet:batch_images:mean5m"}),
        (
            "Share of the time that the network computes",
            "percentunit",
            {"{{model}} {{instance}}": "alexnet:busy:ratio1m"},
        ),
    ),
    "Right answers": (
        (
            "Probes, a second",
            "short",
            {"{{model}} {{outcome}}": f"sum by (model, outcome) (rate({PROBES_TOTAL.name}[5m]))"},
        ),
        ("A probe, p99", "s", {"{{model}}": "alexnet:probe_seconds:p99_5m"}),
        (
            "Since the last right answer",
            "s",
            {"{{model}}": f"time() - max by (model) ({PROBE_SUCCESS_TIMESTAMP.name})"},
        ),
        ("Largest |Δp| from FP32", "short", {"{{model}}": f"max by (model) ({PROBE_MAX_ABS_DP.name})"}),
        ("Lowest cosine with FP32's embedding", "short", {"{{model}}": f"min by (model) ({PROBE_COSINE.name})"}),
        (
            "What answers",
            "short",
            {"{{network}}, release {{release}}": f"max by (network, release) ({PROBE_RELEASE_INFO.name})"},
        ),
    ),
    "Drift": (
        ("Classes: population stability index", "short", {"{{model}}": "alexnet:class_drift:psi1h"}),
        (
            "Shares of classes",
            "percentunit",
            {
                "{{model}} {{class}}": "alexnet:class:ratio_rate1h",
                "{{model}} {{class}}, proof": f"max by (model, class) ({REFERENCE_CLASS_RATIO.name})",
            },
        ),
        (
            "Embeddings: deviations from the proof's length",
            "short",
            {"{{model}}": "alexnet:embedding_drift:deviations1h"},
        ),
    ),
    "Canary": (
        ("Inferences that it is given, a second", "reqps", {"{{canary}}": "alexnet:canary_calls:rate1m"}),
        (
            "Lost, or lost to another attempt",
            "percentunit",
            {"canary": "alexnet:canary_failed:ratio_rate1m", "beside it": "alexnet:canary_beside_failed:ratio_rate1m"},
        ),
        ("Latency at the gateway, p90", "s", {"{{envoy_cluster_name}}": "alexnet:canary_latency_seconds:p90_1m"}),
        (
            "Distance of its classes: population stability index",
            "short",
            {"{{model}}": "alexnet:canary_drift:psi5m", "{{model}}, by chance": "alexnet:canary_drift_by_chance:psi5m"},
        ),
        (
            "Shares of classes",
            "percentunit",
            {
                "{{model}} {{class}}, canary": "alexnet:canary_class:ratio5m",
                "{{model}} {{class}}, beside it": "alexnet:canary_beside_class:ratio5m",
            },
        ),
        (
            "Length of its embeddings, over those beside it",
            "short",
            {"{{model}}": "alexnet:canary_embedding:ratio5m"},
        ),
    ),
    "Servers": (
        ("Alerts", "short", {"{{alertname}} {{model}}": 'ALERTS{alertname=~"AlexNet.+", alertstate="firing"}'}),
        (
            "Servers put in place in 15 minutes",
            "short",
            {"{{instance}}": 'increase(envoy_cluster_update_success{envoy_cluster_name="grpc"}[15m])'},
        ),
        ("Until a certificate ends", "d", {"{{instance}}": "alexnet:certificate:days"}),
    ),
}


def build() -> str:
    """The dashboard as Grafana reads it, JSON."""
    source = DataSourceRef(type_val="prometheus", uid=f"${{{SOURCE}}}")
    made = (
        dashboard.Dashboard("AlexNet serving")
        .uid("alexnet-serving")
        .tags(["alexnet"])
        .refresh("30s")
        .time("now-6h", "now")
        .with_variable(dashboard.DatasourceVariable(SOURCE).type("prometheus").label("Prometheus"))
    )
    for title, panels in ROWS.items():
        made = made.with_row(dashboard.Row(title))
        for name, unit, queries in panels:
            panel = timeseries.Panel().title(name).unit(unit).datasource(source).span(WIDTH).height(HEIGHT)
            for number, (legend, expression) in enumerate(queries.items()):
                query = prometheus.Dataquery().expr(expression).legend_format(legend).ref_id(chr(ord("A") + number))
                panel = panel.with_target(query)
            made = made.with_panel(panel)
    return f"{JSONEncoder(sort_keys=True, indent=2).encode(made.build())}\n"


def main() -> None:
    """Write the file."""
    with atomic_path(FILE) as partial:
        partial.write_text(build())


if __name__ == "__main__":
    main()
