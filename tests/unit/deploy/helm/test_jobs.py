"""The chart's Jobs that are no part of serving: a load test, and engines for the GPU that will serve."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import yaml

from deploy.docker import build_engines
from deploy.loadtest import load
from tests.charts import CHART, helm, of_kind, render
from tests.images import only_what_it_has
from tests.pods import Pod

CLAIM, LOAD_TEST, ENGINES = (CHART / "ci" / f"{name}-values.yaml" for name in ("claim", "loadtest", "engines"))


def container(manifest: dict[str, Any]) -> dict[str, Any]:
    (found,) = manifest["spec"]["template"]["spec"]["containers"]
    return found


def pods_of(job: dict[str, Any]) -> dict[str, str]:
    """Labels."""
    found: dict[str, str] = job["spec"]["template"]["metadata"]["labels"]
    return found


def mounted(manifest: dict[str, Any]) -> dict[str, tuple[str, bool]]:
    """Path -> claim, and whether it is read only."""
    spec = manifest["spec"]["template"]["spec"]
    claims = {each["name"]: each.get("persistentVolumeClaim", {}).get("claimName", "") for each in spec["volumes"]}
    mounts = spec["containers"][0]["volumeMounts"]
    return {mount["mountPath"]: (claims[mount["name"]], mount.get("readOnly", False)) for mount in mounts}


def test_a_changed_load_test_is_another_job_and_an_unchanged_one_is_not() -> None:
    def name(*settings: str) -> str:
        return str(of_kind(render(LOAD_TEST, *settings), "Job")["metadata"]["name"])

    assert name() == name("replicas=5")
    others = ("loadTest.run=after", "loadTest.p99=60", "image.tag=v2", "gateway.enabled=true")
    assert len({name(), *map(name, others)}) == 1 + len(others)


def test_a_load_test_asks_whom_clients_ask_and_keeps_its_report() -> None:
    job = of_kind(render(LOAD_TEST), "Job")
    assert mounted(job)["/report"] == ("load-tests", False)
    assert {"--output=/report/before", "--rate=200"} <= set(container(job)["args"])
    assert "--url=dns:///alexnet-alexnet-serving-headless.serving:8001" in container(job)["args"]
    behind = render(LOAD_TEST, "gateway.enabled=true", "loadTest.output=", "loadTest.rate=0")
    job = of_kind(behind, "Job")
    assert "--url=alexnet-alexnet-serving-gateway.serving:8001" in container(job)["args"]
    assert not [argument for argument in container(job)["args"] if argument.startswith("--rate")]
    assert {"name": "report", "emptyDir": {}} in job["spec"]["template"]["spec"]["volumes"]
    (peer,) = of_kind(behind, "NetworkPolicy", "-load-test")["spec"]["egress"][0]["to"]
    assert peer["podSelector"]["matchLabels"]["app.kubernetes.io/name"] == "alexnet-serving-gateway"
    for manifests, name in ((render(LOAD_TEST), "alexnet-serving"), (behind, "-gateway")):
        policy = of_kind(manifests, "NetworkPolicy", name)["spec"]
        assert pods_of(job) in [peer["podSelector"]["matchLabels"] for peer in policy["ingress"][0]["from"][:-1]]


def test_the_defaults_are_the_commands() -> None:
    values = yaml.safe_load((CHART / "values.yaml").read_text())
    assert tuple(values["loadTest"]["models"]) == load.MODELS
    assert values["loadTest"]["seconds"] == load.SECONDS
    assert tuple(values["engines"]["graphs"]) == build_engines.GRAPHS


def test_engines_are_built_where_they_will_serve_before_anything_serves() -> None:
    manifests = render(ENGINES)
    job, server = of_kind(manifests, "Job"), of_kind(manifests, "Deployment")
    assert job["metadata"]["annotations"]["helm.sh/hook"] == "pre-install,pre-upgrade,pre-rollback"
    assert container(job)["resources"]["limits"]["nvidia.com/gpu"] == 1
    builds, serves = (each["spec"]["template"]["spec"] for each in (job, server))
    assert [builds[key] for key in ("nodeSelector", "tolerations")] == [
        serves[key] for key in ("nodeSelector", "tolerations")
    ]
    assert container(job)["image"] == container(server)["image"]
    assert mounted(job) == {
        "/artefacts": ("alexnet-artefacts", True),
        "/cache": ("engines-l4", False),
        "/models": ("alexnet-models", False),
        "/tmp": ("", False),
    }
    policy = of_kind(manifests, "NetworkPolicy", "-engines")
    assert policy["metadata"]["annotations"]["helm.sh/hook"] == "pre-install,pre-upgrade,pre-rollback"
    assert policy["spec"].keys() == {"podSelector", "policyTypes"}  # and so nobody, either way


@pytest.mark.parametrize(
    ("values", "setting", "message"),
    [
        (LOAD_TEST, "loadTest.run=a/b", "run"),
        (LOAD_TEST, "loadTest.models={alexnet_int4}", "models"),
        (LOAD_TEST, "loadTest.p99=0", "p99"),
        (ENGINES, "engines.artefacts=", "engines: want artefacts, a claim with what `python -m export` verified"),
        (ENGINES, "engines.cache=", "engines: want cache, a claim that keeps them"),
        (
            ENGINES,
            "models.persistentVolumeClaim=,models.image=registry.example/models:1",
            "engines: want models.persistentVolumeClaim, which they are published into",
        ),
        (ENGINES, "engines.precision=int4", "precision"),
    ],
)
def test_a_value_that_cannot_be_meant_is_an_error_that_names_it(values: Path, setting: str, message: str) -> None:
    done = helm("template", "alexnet", CHART, "--values", values, "--set", setting)
    assert done.returncode != 0
    assert message in done.stderr


@pytest.mark.parametrize(
    ("values", "said", "status"),
    [
        (ENGINES, "build-engines: this machine has no GPU: run it where the engines will serve", 1),
        (LOAD_TEST, "tls/ca.crt", 3),
    ],
    ids=["engines", "load test"],
)
def test_the_image_with_a_gpus_runtime_has_what_they_need(
    values: Path, said: str, status: int, tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    """As far as they go without a GPU and a server: to what they tell of that."""
    job = of_kind(render(values, "loadTest.wait=0"), "Job")
    container(job)["env"].append({"name": "PYTHONPATH", "value": only_what_it_has("Dockerfile", tmp_path)})
    with Pod(job, tmp_path).start() as process:
        assert process.wait() == status
    assert said in capfd.readouterr().err.splitlines()[-1]
