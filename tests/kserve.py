"""KServe's two resources, in as many of their fields as are used, and the pod that its controller makes of them.

Fields are those of KServe's Go types (pkg/apis/serving of its repository), of which there is no package for Python.
"""

from __future__ import annotations

from typing import Any, Literal

import yaml
from pydantic import BaseModel, ConfigDict

from tests.conftest import ROOT

KSERVE = ROOT / "deploy" / "kserve"
#: Of the volume with what ``storageUri`` names, and where KServe mounts it.
STORAGE, MOUNTED = "kserve-pvc-source", "/mnt/models"
Protocol = Literal["v1", "v2", "grpc-v1", "grpc-v2"]


class Strict(BaseModel):
    """Refuses a field that it does not know, and a value of another type."""

    model_config = ConfigDict(extra="forbid", strict=True)


class Metadata(Strict):
    """``ObjectMeta``."""

    name: str
    annotations: dict[str, str] = {}


class Format(Strict):
    """``ModelFormat``."""

    name: str
    version: str | None = None


class SupportedFormat(Format):
    """``SupportedModelFormat``."""

    autoSelect: bool = False  # noqa: N815


class RuntimeSpec(Strict):
    """``ServingRuntimeSpec``; containers and volumes are Kubernetes' own, and checked as part of the pod."""

    supportedModelFormats: list[SupportedFormat]  # noqa: N815
    protocolVersions: list[Protocol]  # noqa: N815
    annotations: dict[str, str] = {}
    containers: list[dict[str, Any]]
    volumes: list[dict[str, Any]] = []


class ServingRuntime(Strict):
    """``serving.kserve.io/v1alpha1``."""

    apiVersion: Literal["serving.kserve.io/v1alpha1"]  # noqa: N815
    kind: Literal["ServingRuntime"]
    metadata: Metadata
    spec: RuntimeSpec


class Model(Strict):
    """``ModelSpec``, of which a container's fields override the runtime's, and arguments are added to its."""

    runtime: str
    modelFormat: Format  # noqa: N815
    protocolVersion: Protocol  # noqa: N815
    storageUri: str  # noqa: N815
    args: list[str] = []
    resources: dict[str, Any] | None = None


class Predictor(Strict):
    """``PredictorSpec``: its own fields, and the pod's."""

    minReplicas: int  # noqa: N815
    model: Model
    automountServiceAccountToken: bool  # noqa: N815
    terminationGracePeriodSeconds: int  # noqa: N815


class ServiceSpec(Strict):
    """``InferenceServiceSpec``."""

    predictor: Predictor


class InferenceService(Strict):
    """``serving.kserve.io/v1beta1``."""

    apiVersion: Literal["serving.kserve.io/v1beta1"]  # noqa: N815
    kind: Literal["InferenceService"]
    metadata: Metadata
    spec: ServiceSpec


def read(name: str) -> dict[str, Any]:
    """A manifest of ``deploy/kserve``."""
    found: dict[str, Any] = yaml.safe_load((KSERVE / f"{name}.yaml").read_text())
    return found


def deployment(*arguments: str) -> dict[str, Any]:
    """What the controller makes of the two in its mode Standard, with the claim where KServe mounts it.

    Args:
        arguments: of the InferenceService, which come after the runtime's.
    """
    runtime = ServingRuntime.model_validate(read("servingruntime")).spec
    service = InferenceService.model_validate(read("inferenceservice")).spec.predictor
    (container,) = runtime.containers
    claim, _, path = service.model.storageUri.removeprefix("pvc://").partition("/")
    mount = {"name": STORAGE, "mountPath": MOUNTED, "readOnly": True, **({"subPath": path} if path else {})}
    pod = {
        "automountServiceAccountToken": service.automountServiceAccountToken,
        "terminationGracePeriodSeconds": service.terminationGracePeriodSeconds,
        "containers": [
            container
            | {
                "args": [*container["args"], *service.model.args, *arguments],
                "volumeMounts": [*container["volumeMounts"], mount],
            }
        ],
        "volumes": [
            *runtime.volumes,
            {"name": STORAGE, "persistentVolumeClaim": {"claimName": claim, "readOnly": True}},
        ],
    }
    labels = {"app": "isvc.alexnet-predictor"}
    return {
        "apiVersion": "apps/v1",
        "kind": "Deployment",
        "metadata": {"name": "alexnet-predictor"},
        "spec": {
            "replicas": service.minReplicas,
            "selector": {"matchLabels": labels},
            "template": {"metadata": {"labels": labels, "annotations": runtime.annotations}, "spec": pod},
        },
    }
