"""The chart renders what Kubernetes takes, by its own schemas; a typo is an error that names the key."""

from __future__ import annotations

import json
from collections.abc import Iterator
from functools import cache
from importlib import import_module
from pathlib import Path
from typing import Any

import kubernetes_validate
import pytest
import yaml

from alexnet_client.contract import TRACK
from deploy.serve.ports import Ports
from deploy.serve.times import Times
from tests.charts import CHART, VALUES, helm, of_kind, render
from tests.conftest import python

#: From the oldest that the chart says it runs on to the newest that there is a schema of.
VERSIONS = [f"1.{minor}" for minor in range(31, int(kubernetes_validate.latest_version().split(".")[1]) + 1)]
CLAIM = CHART / "ci" / "claim-values.yaml"
AUTOSCALING = CHART / "ci" / "autoscaling-values.yaml"
TOKENS = CHART / "ci" / "tokens-values.yaml"
#: Of custom resources, of which Kubernetes itself has no schema; imported when needed, which takes two seconds.
MODELS = {
    "monitoring.coreos.com/v1": "cloudcoil.models.prometheus_operator.v1",
    "keda.sh/v1alpha1": "cloudcoil.models.keda.v1alpha1",
}


def pods(manifests: list[dict[str, Any]]) -> Iterator[dict[str, Any]]:
    for manifest in manifests:
        if manifest["kind"] == "Pod":
            yield manifest["spec"]
        elif "template" in manifest.get("spec", {}):
            yield manifest["spec"]["template"]["spec"]


def unknown(resource: dict[str, Any]) -> Iterator[str]:
    """Fields of a custom resource that its typed model does not have, and drops in silence."""
    model = getattr(import_module(MODELS[resource["apiVersion"]]), resource["kind"]).model_validate(resource)
    return differences(resource, model.model_dump(by_alias=True, mode="json"))


def differences(given: object, read: object, path: str = "") -> Iterator[str]:
    """Fields that were given and that a typed model does not have."""
    if isinstance(given, dict) and isinstance(read, dict):
        for key, value in given.items():
            if key in read:
                yield from differences(value, read[key], f"{path}.{key}")
            else:
                yield f"{path}.{key}"
    elif isinstance(given, list) and isinstance(read, list):
        for number, (one, other) in enumerate(zip(given, read, strict=True)):
            yield from differences(one, other, f"{path}[{number}]")


@cache
def validate(manifest: str) -> None:
    """Raise what a Kubernetes would not take; most manifests are the same in most values files."""
    for version in VERSIONS:
        kubernetes_validate.validate(json.loads(manifest), version, strict=True)


@pytest.mark.parametrize("values", VALUES, ids=lambda path: path.name)
def test_every_values_file_renders_what_kubernetes_takes(values: Path) -> None:
    done = helm("lint", "--strict", CHART, "--values", values)
    assert done.returncode == 0, done.stdout + done.stderr
    for manifest in render(values):
        if manifest["apiVersion"] in MODELS:
            assert not list(unknown(manifest))
            continue
        validate(json.dumps(manifest))


def test_unknown_fields_of_a_custom_resource_are_seen() -> None:
    monitor = of_kind(render(CHART / "ci" / "monitoring-values.yaml"), "PodMonitor")
    monitor["spec"]["podMetricsEndpoints"][0]["intervall"] = "15s"
    (found,) = unknown(monitor)
    assert found == ".spec.podMetricsEndpoints[0].intervall"


@pytest.mark.parametrize(
    ("setting", "message"),
    [
        ("replica=3", "additional properties 'replica' not allowed"),
        ("tls.secret=a", "additional properties 'secret' not allowed"),
        ("probes.liveness.period=1", "additional properties 'period' not allowed"),
        ("replicas=0", "replicas"),
        ("server.grpcPort=70000", "grpcPort"),
        ("sharedMemory=5q", "sharedMemory"),
        ("image.digest=sha256:1", "digest"),
        ("tls.secretName=alexnet-tls", "tls: want serverName, a name in the certificate"),
        ("models.image=registry.example/models:1", "want one of persistentVolumeClaim, image and fetch, got several"),
        ("models.persistentVolumeClaim=", "where `python -m export publish` wrote the repository"),
        ("autoscaling.max=3", "additional properties 'max' not allowed"),
        ("autoscaling.waitMilliseconds=0", "waitMilliseconds"),
        ("autoscaling.busyRatio=1.1", "busyRatio"),
        ("autoscaling.prometheus=prometheus:9090", "prometheus"),
        ("autoscaling.enabled=true", "autoscaling: want monitoring.enabled, whose rules it reads"),
        (
            "autoscaling.enabled=true,monitoring.enabled=true",
            "autoscaling: want prometheus, where the rules are evaluated",
        ),
        (
            "autoscaling.enabled=true,monitoring.enabled=true,autoscaling.minReplicas=11",
            "minReplicas 11 over maxReplicas 10",
        ),
        ("canary.enabled=true", "canary: want gateway.enabled, which gives it its share, and monitoring.enabled"),
        (
            "canary.enabled=true,gateway.enabled=true,monitoring.enabled=true,canary.prometheus=http://prometheus:9090",
            "canary.models: want persistentVolumeClaim, image or fetch",
        ),
        (
            "canary.enabled=true,gateway.enabled=true,monitoring.enabled=true,canary.models.image=registry.example/models:2",
            "canary: want prometheus, where the rules are evaluated",
        ),
        ("canary.steps={10,101}", "canary/steps/1"),
        (
            "gpu.count=1",
            "gpu.count is 1, and image.repository alexnet-serving the image for CPUs: want the one of",
        ),
        (
            "models.persistentVolumeClaim=,models.fetch.image=cli,models.fetch.command={s3,sync,/models/}",
            "models: got a fetch.command that fills /models, and path repository: want /models/repository filled",
        ),
        (
            "prober.enabled=true,gateway.enabled=true,gateway.tls.secretName=edge",
            "gateway.tls: want serverName, a name in the certificate, by which callers know it",
        ),
        ("networkPolicy.monitoring=[]", "networkPolicy/monitoring"),
    ],
)
def test_a_value_that_cannot_be_meant_is_an_error_that_names_it(setting: str, message: str) -> None:
    done = helm("template", "alexnet", CHART, "--values", CLAIM, "--set-json" if "[]" in setting else "--set", setting)
    assert done.returncode != 0
    assert message in done.stderr


def test_every_value_has_a_default() -> None:
    """Values.yaml is where one looks them up."""
    schema, values = (yaml.safe_load((CHART / name).read_text()) for name in ("values.schema.json", "values.yaml"))

    def undocumented(properties: dict[str, Any], given: dict[str, Any], path: str = "") -> Iterator[str]:
        for key, value in properties.items():
            if key not in given:
                yield f"{path}{key}"
            elif value.get("properties") and isinstance(given[key], dict):
                yield from undocumented(value["properties"], given[key], f"{path}{key}.")

    probes = {"initialDelaySeconds", "successThreshold"}
    found = {name for name in undocumented(schema["properties"], values) if name.rpartition(".")[2] not in probes}
    assert found == {"global"}  # Helm's own


@pytest.mark.parametrize("values", VALUES, ids=lambda path: path.name)
def test_pods_pass_the_restricted_standard(values: Path) -> None:
    """Pod Security Standards, "restricted"; and they write nowhere but to their volumes."""
    for pod in pods(render(values)):
        assert not {"hostNetwork", "hostPID", "hostIPC"} & pod.keys()
        assert pod["automountServiceAccountToken"] is False
        security = pod["securityContext"]
        assert security["runAsNonRoot"] is True
        assert security.get("runAsUser", 10001) > 0
        assert security["seccompProfile"] == {"type": "RuntimeDefault"}
        kinds = {kind for volume in pod.get("volumes", []) for kind in volume.keys() - {"name"}}
        # An image volume is newer than the standard's list.
        assert kinds - {"image"} <= {"persistentVolumeClaim", "emptyDir", "secret", "configMap", "projected"}
        for container in pod["containers"] + pod.get("initContainers", []):
            assert container["securityContext"] == {
                "allowPrivilegeEscalation": False,
                "readOnlyRootFilesystem": True,
                "capabilities": {"drop": ["ALL"]},
            }
            assert container["resources"]["limits"]["memory"]


def test_a_pod_has_time_to_answer_what_it_was_asked() -> None:
    """From the pre-stop pause to the last answer, and then some."""
    (server, _) = pods(render(CLAIM))
    pause = server["containers"][0]["lifecycle"]["preStop"]["sleep"]["seconds"]
    times = Times()
    assert server["terminationGracePeriodSeconds"] > pause + times.drain + 2 * times.stop + times.door


def test_ports_are_the_servers() -> None:
    values, ports = yaml.safe_load((CHART / "values.yaml").read_text())["server"], Ports()
    assert (values["grpcPort"], values["metricsPort"]) == (ports.grpc, ports.metrics)


def test_only_those_who_may_reach_it() -> None:
    policy = of_kind(render(CHART / "ci" / "monitoring-values.yaml"), "NetworkPolicy")["spec"]
    assert policy["policyTypes"] == ["Ingress", "Egress"]
    assert policy["egress"] == []
    grpc, metrics = policy["ingress"]
    assert [port["port"] for port in grpc["ports"]] == [8001]
    assert {"namespaceSelector": {"matchLabels": {"team": "search"}}} in grpc["from"]
    assert [port["port"] for port in metrics["ports"]] == [8002]


def test_a_gpu_is_asked_for() -> None:
    (server, _) = pods(render(CHART / "ci" / "gpu-values.yaml"))
    (container,) = server["containers"]
    assert container["resources"]["limits"]["nvidia.com/gpu"] == 1
    assert "--repository=/models/live" in container["args"]


def test_a_prober_gets_to_the_servers_and_its_command_is_the_probers() -> None:
    manifests = render(CHART / "ci" / "prober-values.yaml")
    (prober,) = [pod for pod in pods(manifests) if pod["containers"][0]["name"] == "prober"]
    labels = {"app.kubernetes.io/name": "alexnet-serving-prober", "app.kubernetes.io/instance": "alexnet"}
    policies = {each["metadata"]["name"]: each["spec"] for each in manifests if each["kind"] == "NetworkPolicy"}
    assert {"podSelector": {"matchLabels": labels}} in policies["alexnet-alexnet-serving"]["ingress"][0]["from"]
    assert policies["alexnet-alexnet-serving-prober"]["podSelector"]["matchLabels"] == labels
    container = prober["containers"][0]
    assert {entry["name"] for entry in container["env"]} >= {"ALEXNET_TLS_CA", "ALEXNET_TLS_KEY"}
    done = python(*container["command"][2:], *container["args"], status=1)
    assert "/models/live/alexnet" in done.stderr  # understood, and not there
    assert not [each for each in render(CLAIM) if "prober" in each["metadata"]["name"]]


def test_the_autoscaler_alone_says_how_many_replicas_there_are() -> None:
    manifests = render(AUTOSCALING)
    deployment, scaled = of_kind(manifests, "Deployment"), of_kind(manifests, "ScaledObject")["spec"]
    assert "replicas" not in deployment["spec"]
    assert of_kind(render(CLAIM), "Deployment")["spec"]["replicas"] == 2
    assert scaled["scaleTargetRef"]["name"] == deployment["metadata"]["name"]
    assert (scaled["minReplicaCount"], scaled["maxReplicaCount"]) == (2, 20)
    wait, busy = sorted(scaled["triggers"], key=lambda trigger: trigger["name"], reverse=True)
    assert (wait["metadata"]["threshold"], busy["metadata"]["threshold"]) == ("50", "0.7")
    # A mean is not divided by the replicas, as KEDA would otherwise.
    assert wait["metricType"] == busy["metricType"] == "Value"


def peers(manifests: list[dict[str, Any]], name: str, port: int) -> list[str]:
    """Who gets to a port by a NetworkPolicy, of this chart's own."""
    policies = {each["metadata"]["name"]: each["spec"] for each in manifests if each["kind"] == "NetworkPolicy"}
    (rule,) = [each for each in policies[name]["ingress"] if each["ports"] == [{"port": port}]]
    return [
        peer["podSelector"]["matchLabels"]["app.kubernetes.io/name"] for peer in rule["from"] if peer["podSelector"]
    ]


def test_what_asks_goes_through_the_gateway_where_there_is_one() -> None:
    asks = ["alexnet-serving-test", "alexnet-serving-prober", "alexnet-serving-bulk"]
    on = ("prober.enabled=true", "bulk.enabled=true", "bulk.input=photographs", "bulk.output=vectors")
    without, behind = render(CLAIM, *on), render(CHART / "ci" / "gateway-values.yaml", *on)
    assert peers(without, "alexnet-alexnet-serving", 8001) == asks
    assert peers(behind, "alexnet-alexnet-serving", 8001) == ["alexnet-serving-gateway"]
    assert peers(behind, "alexnet-alexnet-serving-gateway", 8001) == asks
    for manifests, target in (
        (without, "dns:///alexnet-alexnet-serving-headless.serving:8001"),
        (behind, "alexnet-alexnet-serving-gateway.serving:8001"),
    ):
        asked = [each for pod in pods(manifests) for each in pod["containers"][0].get("args", []) if "--url=" in each]
        assert f"--url={target}" in asked
        assert len(asked) == 3


def test_models_are_fetched_before_anything_starts() -> None:
    manifests = render(CHART / "ci" / "fetch-values.yaml")
    server = next(pods(manifests))
    (fetch,) = server["initContainers"]
    assert fetch["command"][-1] == "/models/live/"
    assert {"name": "models", "emptyDir": {}} in server["volumes"]
    assert "--traces=http://collector.monitoring:4318/v1/traces" in server["containers"][0]["args"]


def test_a_canary_is_reached_by_the_gateway_alone_and_has_a_name_of_its_models() -> None:
    values = CHART / "ci" / "canary-values.yaml"
    manifests, other = render(values), render(values, "canary.models.path=releases/8")
    servers = [of_kind(each, "Deployment", "canary") for each in (manifests, other)]
    names = [server["spec"]["template"]["metadata"]["labels"]["canary"] for server in servers]
    assert names[0] != names[1]
    assert servers[0]["spec"]["template"]["spec"]["volumes"][0]["persistentVolumeClaim"]["claimName"].endswith("-next")
    for manifest, name in zip((manifests, other), names, strict=True):
        gateway = of_kind(manifest, "Deployment", "gateway")["spec"]["template"]
        assert gateway["metadata"]["labels"]["canary"] == name
        (sharer,) = [each for each in gateway["spec"]["containers"] if each["name"] == "canary"]
        assert f"--canary={name}" in sharer["args"]
    labels = servers[0]["spec"]["template"]["metadata"]["labels"]
    for service in (each for each in manifests if each["kind"] == "Service"):
        takes = service["spec"]["selector"].items() <= labels.items()
        assert takes == service["metadata"]["name"].endswith("canary-headless")
    assert peers(manifests, "alexnet-alexnet-serving-canary", 8001) == ["alexnet-serving-gateway"]
    monitor = of_kind(manifests, "PodMonitor", "alexnet-alexnet-serving")["spec"]
    assert monitor["podTargetLabels"] == ["track", "canary"]
    assert monitor["selector"]["matchLabels"].items() <= labels.items()
    settings = ("bulk.enabled=true", "bulk.input=photographs", "bulk.output=vectors")
    for kind, name in (("Deployment", "prober"), ("Job", "")):
        pod = of_kind(render(values, *settings), kind, name)["spec"]["template"]["spec"]
        assert f"--metadata={TRACK}=stable" in pod["containers"][0]["args"]


def test_a_name_fits_with_all_that_is_put_after_it() -> None:
    everything = [argument for values in VALUES for argument in ("--values", values)]
    longest = "r" * 28
    done = helm("template", longest, CHART, *everything, "--set", "models.image=,models.fetch.image=")
    assert done.returncode == 0, done.stderr
    names = [manifest["metadata"]["name"] for manifest in yaml.safe_load_all(done.stdout) if manifest]
    assert len(names) > 20
    assert max(map(len, names)) <= 63
    done = helm("template", f"{longest}r", CHART, "--values", CLAIM)
    assert done.returncode != 0
    assert "45 characters: want a release's name with which it has 44 at most" in done.stderr


def test_a_canary_of_any_models_has_a_label_that_kubernetes_takes() -> None:
    """The hash of these is all digits, which YAML reads as a number."""
    settings = ("canary.models.persistentVolumeClaim=alexnet-models", "canary.models.path=repository.releases/95")
    manifests = render(CHART / "ci" / "canary-values.yaml", *settings)
    labels = of_kind(manifests, "Deployment", "-gateway")["spec"]["template"]["metadata"]["labels"]
    assert labels["canary"] == "5382967153"


def test_while_a_canary_takes_calls_no_replica_is_removed() -> None:
    settings = ("autoscaling.enabled=true", "autoscaling.prometheus=http://prometheus:9090")
    for values, policy in (("canary-values.yaml", "Disabled"), ("monitoring-values.yaml", None)):
        scaled = of_kind(render(CHART / "ci" / values, *settings), "ScaledObject")["spec"]["advanced"]
        behavior = scaled["horizontalPodAutoscalerConfig"]["behavior"]
        assert behavior["scaleDown"].get("selectPolicy") == policy


def test_what_a_gpu_does_not_tell_does_not_scale_it() -> None:
    """A trigger without data keeps all replicas for ever."""
    settings = ("monitoring.enabled=true", "autoscaling.enabled=true", "autoscaling.prometheus=http://prometheus:9090")
    scaled = of_kind(render(CHART / "ci" / "gpu-values.yaml", *settings), "ScaledObject")
    assert [trigger["name"] for trigger in scaled["spec"]["triggers"]] == ["wait"]


def test_a_bulk_job_of_another_image_is_another_job() -> None:
    """A Job cannot be changed: an upgrade of one that has another template is refused."""
    values = CHART / "ci" / "bulk-values.yaml"
    jobs = [of_kind(render(values, *settings), "Job") for settings in ((), ("image.tag=v2",), ("bulk.parallelism=9",))]
    names = [job["metadata"]["name"] for job in jobs]
    assert names[0] == names[2] != names[1]


def test_whatever_has_an_image_may_pull_it() -> None:
    for values in VALUES:
        for pod in pods(render(values, "imagePullSecrets[0].name=registry")):
            assert pod["imagePullSecrets"] == [{"name": "registry"}]


@pytest.mark.parametrize(
    ("setting", "message"),
    [("gateway.tokens.issuer=", "want issuer"), ("gateway.tls.secretName=", "or they travel for all to read")],
)
def test_tokens_want_an_issuer_and_encryption(setting: str, message: str) -> None:
    done = helm("template", "alexnet", CHART, "--values", TOKENS, "--set", setting)
    assert done.returncode
    assert message in done.stderr


@pytest.mark.parametrize(
    ("settings", "source"),
    [
        ((), {"serviceAccountToken": {"audience": "alexnet", "expirationSeconds": 3600, "path": "token"}}),
        (
            ("gateway.tokens.ownSecretName=mine",),
            {"secret": {"name": "mine", "items": [{"key": "token", "path": "token"}]}},
        ),
    ],
    ids=["the service account's", "a Secret's"],
)
def test_the_charts_own_callers_show_a_token(settings: tuple[str, ...], source: dict[str, Any]) -> None:
    mounted = {}
    for pod in pods(render(TOKENS, *settings)):
        for container in pod["containers"]:
            said = {entry["name"]: entry.get("value") for entry in container.get("env", [])}
            if "ALEXNET_TOKEN_FILE" in said:
                (volume,) = [each for each in pod["volumes"] if each["name"] == "token"]
                assert {"name": "token", "mountPath": "/token", "readOnly": True} in container["volumeMounts"]
                mounted[container["name"]] = volume["projected"]["sources"]
    assert mounted == {name: [source] for name in ("prober", "embed", "load-test", "probe")}
