"""KServe's manifests: no field that KServe or Kubernetes does not know, and the server that the chart runs."""

from __future__ import annotations

from typing import Any

import kubernetes_validate
import pytest
from pydantic import ValidationError

from tests.charts import CHART, of_kind, render
from tests.kserve import InferenceService, ServingRuntime, deployment, read


def test_they_belong_together() -> None:
    runtime = ServingRuntime.model_validate(read("servingruntime"))
    service = InferenceService.model_validate(read("inferenceservice"))
    model = service.spec.predictor.model
    assert model.runtime == runtime.metadata.name
    assert model.protocolVersion in runtime.spec.protocolVersions
    assert model.modelFormat.name in [known.name for known in runtime.spec.supportedModelFormats]
    assert [container["name"] for container in runtime.spec.containers] == ["kserve-container"]


@pytest.mark.parametrize(
    ("path", "key"), [(("spec",), "supportedModelFormat"), (("spec", "predictor", "model"), "storageURI")]
)
def test_a_field_that_kserve_does_not_know_is_refused(path: tuple[str, ...], key: str) -> None:
    kind, name = (ServingRuntime, "servingruntime") if len(path) == 1 else (InferenceService, "inferenceservice")
    manifest: dict[str, Any] = read(name)
    inner = manifest
    for step in path:
        inner = inner[step]
    inner[key] = "triton"
    with pytest.raises(ValidationError, match=key):
        kind.model_validate(manifest)


def test_the_pod_that_comes_of_them_is_kubernetes_own() -> None:
    for version in ("1.32", kubernetes_validate.latest_version()):
        kubernetes_validate.validate(deployment(), version, strict=True)


def test_it_is_the_charts_server() -> None:
    """But for where models are and what KServe adds: one image, one command, the same ports, probes and rights."""
    theirs = of_kind(render(CHART / "ci" / "claim-values.yaml"), "Deployment")["spec"]["template"]["spec"]
    ours = deployment()["spec"]["template"]["spec"]
    (server,), (container,) = theirs["containers"], ours["containers"]
    same = ("image", "command", "env", "resources", "lifecycle", "startupProbe", "readinessProbe", "livenessProbe")
    assert {key: container[key] for key in same} == {key: server[key] for key in same}
    assert container["args"] == [word.replace("/models/", "/mnt/models/") for word in server["args"]]
    assert [(port["name"], port["containerPort"]) for port in container["ports"]] == [
        (port["name"], port["containerPort"]) for port in server["ports"]
    ]
    assert container["securityContext"].items() >= server["securityContext"].items()
    assert ours["terminationGracePeriodSeconds"] == theirs["terminationGracePeriodSeconds"]
    volumes = {volume["name"]: volume for volume in ours["volumes"]}
    assert [volumes[each["name"]] for each in theirs["volumes"] if each["name"] != "models"] == [
        each for each in theirs["volumes"] if each["name"] != "models"
    ]
