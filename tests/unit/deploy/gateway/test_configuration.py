"""What the chart renders for the gateway: a configuration that Envoy takes, and that has in it what it promises."""

from __future__ import annotations

import subprocess
from functools import cache
from pathlib import Path
from typing import Any

import pytest
import yaml

from deploy.gateway.drain import DrainError, drain
from deploy.gateway.shared import FILE, shared
from deploy.serve.envoy import HEALTH, METHODS, SERVICE
from deploy.serve.installation import envoy
from tests.charts import CHART, helm, of_kind, render

GATEWAY = CHART / "ci" / "gateway-values.yaml"
#: With certificates on both ways, and with none.
PLAIN = ("gateway.tls.secretName=", "gateway.tls.clientCertificates=false", "tls.secretName=")


@cache
def rendered(*settings: str) -> list[dict[str, Any]]:
    """To be read only."""
    return render(GATEWAY, *settings)


@cache
def configuration(*settings: str) -> dict[str, Any]:
    read: dict[str, Any] = yaml.safe_load(of_kind(rendered(*settings), "ConfigMap", "gateway")["data"]["envoy.yaml"])
    return read


def routes(*settings: str) -> list[dict[str, Any]]:
    (listener,) = [each for each in configuration(*settings)["static_resources"]["listeners"] if each["name"] == "grpc"]
    manager = listener["filter_chains"][0]["filters"][0]["typed_config"]
    (host,) = manager["route_config"]["virtual_hosts"]
    found: list[dict[str, Any]] = host["routes"]
    return found


@pytest.mark.parametrize("settings", [(), PLAIN], ids=["certificates", "plain"])
def test_envoy_takes_it_without_a_word(tmp_path: Path, settings: tuple[str, ...]) -> None:
    path = tmp_path / "envoy.yaml"
    path.write_text(yaml.safe_dump(configuration(*settings)).replace("/etc/gateway", str(tmp_path)))
    for name, text in of_kind(rendered(*settings), "ConfigMap", "gateway")["data"].items():
        if name != path.name:
            (tmp_path / name).write_text(text)
    command = [envoy(), "--mode", "validate", "--log-level", "warning", "--config-path", path]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert (done.returncode, done.stderr) == (0, ""), done.stderr


def test_what_it_shares_with_the_door_is_the_doors() -> None:
    assert FILE.read_text() == shared(), "run `python -m deploy.gateway.shared`"


@pytest.mark.parametrize("settings", [(), PLAIN], ids=["certificates", "plain"])
def test_it_passes_on_what_the_door_does_and_nothing_else(settings: tuple[str, ...]) -> None:
    passed = [route["match"] for route in routes(*settings) if "route" in route]
    paths = {match.get("path", match.get("prefix")) for match in passed}
    assert paths == {HEALTH, *(f"{SERVICE}/{method}" for method in METHODS)}
    last = routes(*settings)[-1]
    assert (last["match"], last["direct_response"]) == ({"prefix": "/"}, {"status": 403})


def test_under_client_certificates_all_but_health_wants_one() -> None:
    open_to_all = [route for route in routes() if "tls_context" not in route["match"]]
    assert [route["match"] for route in open_to_all] == [{"prefix": HEALTH}, {"prefix": "/"}]
    assert "route" not in open_to_all[-1]


def test_only_the_gateway_and_monitoring_reach_the_replicas_then() -> None:
    manifests = rendered()
    gateway = of_kind(manifests, "Deployment", "gateway")["spec"]["selector"]
    grpc, metrics = of_kind(manifests, "NetworkPolicy", "serving")["spec"]["ingress"]
    assert grpc == {"ports": [{"port": 8001}], "from": [{"podSelector": gateway}]}
    assert [port["port"] for port in metrics["ports"]] == [8002]
    out = of_kind(manifests, "NetworkPolicy", "gateway")["spec"]["egress"]
    replicas = of_kind(manifests, "Deployment", "serving")["spec"]["selector"]
    assert out[0] == {"ports": [{"port": 8001}], "to": [{"podSelector": replicas}]}
    assert {port["port"] for port in out[1]["ports"]} == {53, 5353}


def test_a_pod_of_one_is_none_of_the_other() -> None:
    """Or the replicas' Service would lead to the gateway."""
    manifests = rendered()
    selectors = [of_kind(manifests, "Service", end)["spec"]["selector"] for end in ("gateway", "serving", "headless")]
    labels = [
        of_kind(manifests, "Deployment", end)["spec"]["template"]["metadata"]["labels"]
        for end in ("gateway", "serving")
    ]
    matches = [[selector.items() <= label.items() for label in labels] for selector in selectors]
    assert matches == [[True, False], [False, True], [False, True]]


def test_without_it_nothing_of_it_is_there() -> None:
    names = {each["metadata"]["name"] for each in render(CHART / "ci" / "claim-values.yaml")}
    assert not [name for name in names if "gateway" in name]


@pytest.mark.parametrize(
    ("setting", "message"),
    [
        ("gateway.tls.secretName=", "clientCertificates wants secretName"),
        ("gateway.rateLimit.perSecond=1", "additional properties 'perSecond' not allowed"),
        ("gateway.perTryTimeout=1", "perTryTimeout"),
        ("gateway.tls.serverName=", "tls: want serverName"),
    ],
)
def test_a_value_that_cannot_be_meant_is_an_error_that_names_it(setting: str, message: str) -> None:
    done = helm("template", "alexnet", CHART, "--values", GATEWAY, "--set", setting)
    assert done.returncode != 0
    assert message in done.stderr


def test_a_pods_time_is_enough_for_the_longest_call() -> None:
    """One that leaves goes on first, and then answers what it has."""
    values = yaml.safe_load((CHART / "values.yaml").read_text())["gateway"]
    assert values["terminationGracePeriodSeconds"] > values["preStopSeconds"] + float(values["longest"].rstrip("s"))


def test_a_gateway_that_is_not_there_cannot_drain(tmp_path: Path) -> None:
    with pytest.raises(DrainError, match="no Envoy answers there"):
        drain(tmp_path / "admin", 0, 0)


def test_a_canary_has_the_limits_of_the_release_beside_it() -> None:
    """The cluster that a route names decides, and Envoy's own limits allow three attempts more at once."""
    manifest = of_kind(render(CHART / "ci" / "canary-values.yaml"), "ConfigMap", "gateway")
    clusters = {
        each["name"]: each for each in yaml.safe_load(manifest["data"]["envoy.yaml"])["static_resources"]["clusters"]
    }
    limits = [clusters[name]["circuit_breakers"] for name in ("canary", "canary-replicas", "replicas")]
    assert limits[0] == limits[1] == limits[2]
    assert "retry_budget" in limits[0]["thresholds"][0]
