"""What the chart's manifests say is run: command, arguments, environment and probes, of the rendered YAML."""

from __future__ import annotations

import json
import os
import shutil
import signal
import subprocess
from pathlib import Path

import numpy as np
import psutil

from alexnet_client import AlexNetClient
from alexnet_client.contract import IMAGE
from deploy.loadtest import load_report
from deploy.serve import processes
from deploy.serve.ports import free_ports
from deploy.serve.server import LocalServer
from tests.certificates import Certificates
from tests.charts import CHART, of_kind, render
from tests.images import only_what_it_has
from tests.pods import Pod
from tests.waiting import PATIENCE, wait_until

MODEL = "alexnet_int8"
PICTURE = np.random.default_rng(0).integers(0, 256, IMAGE.shape, np.uint8)


def servers(supervisor: psutil.Process) -> list[int]:
    """Process ids of the living tritonservers."""
    return [
        child.pid
        for child in supervisor.children()
        if child.name() == "tritonserver" and child.status() != psutil.STATUS_ZOMBIE
    ]


def test_the_rendered_pod_serves_and_its_probes_tell_the_truth(int8_repository: Path, tmp_path: Path) -> None:
    """With certificates for both sides, as that says most; a backend is stopped, once for each probe."""
    ports, volumes = free_ports(), tmp_path / "volumes"
    (volumes / "tls").mkdir(parents=True)
    certificates = Certificates(volumes / "tls")
    for ours, kubernetes in (("ca.pem", "ca.crt"), ("server.pem", "tls.crt"), ("server.key", "tls.key")):
        shutil.copy(volumes / "tls" / ours, volumes / "tls" / kubernetes)
    shutil.copytree(int8_repository, volumes / "models" / "repository")
    settings = {
        "server.host": ports.host,
        "server.grpcPort": ports.grpc,
        "server.metricsPort": ports.metrics,
        "tls.serverName": "triton.example",
    }
    manifests = render(CHART / "ci" / "mtls-values.yaml", *(f"{key}={value}" for key, value in settings.items()))
    pod = Pod(of_kind(manifests, "Deployment"), volumes)
    with pod.running() as process:
        assert not pod.passes("startup")
        wait_until(lambda: pod.passes("startup"), "the startup probe")
        assert pod.passes("readiness")
        assert pod.passes("liveness")
        with AlexNetClient(f"{ports.host}:{ports.grpc}", MODEL, tls=certificates.mutual, timeout=PATIENCE) as client:
            right = client.embed(PICTURE)
            for probe in ("readiness", "liveness"):
                wait_until(lambda: len(servers(process)) == 1, "the end of the server before")
                for stub, model in processes.stubs(*servers(process)).items():
                    if model == MODEL:
                        os.kill(stub, signal.SIGSTOP)
                wait_until(lambda probe=probe: not pod.passes(probe), f"the {probe} probe's failure")
                wait_until(lambda probe=probe: pod.passes(probe), f"the {probe} probe's success")
            np.testing.assert_array_equal(client.embed(PICTURE), right)
        family = process.children(recursive=True)
    assert all(map(processes.over, family))


def test_a_bulk_job_embeds_each_file_once(server: LocalServer, folder: Path, tmp_path: Path) -> None:
    """Its three pods one after the other, the first of them killed and started again."""
    job = of_kind(render(CHART / "ci" / "bulk-values.yaml", "tls.secretName=", "bulk.inFlight=1"), "Job")
    assert job["spec"]["completions"] == 3
    shutil.copytree(folder / "test", tmp_path / "input" / "2012")
    output = tmp_path / "output"

    def pod(index: int) -> subprocess.Popen[bytes]:
        annotations = {"batch.kubernetes.io/job-completion-index": str(index)}
        return Pod(job, tmp_path, server.grpc_url, annotations).start()

    with pod(0) as killed:
        wait_until(lambda: any(output.glob("vectors-0.npy.part/*.jsonl")), "the first shard's beginning")
        killed.kill()
    for index in range(3):
        with pod(index) as process:
            assert process.wait(PATIENCE) == 0
    lines = [(output / f"vectors-{index}.npy.jsonl").read_text().splitlines() for index in range(3)]
    rows = [json.loads(line)["file"] for shard in lines for line in shard]
    wanted = [str(path.relative_to(tmp_path / "input" / "2012")) for path in (tmp_path / "input").rglob("*.png")]
    assert sorted(rows) == sorted(wanted)
    assert sum(len(np.load(output / f"vectors-{index}.npy")) for index in range(3)) == len(wanted)


def test_a_load_test_loads_the_server_and_leaves_its_report(server: LocalServer, tmp_path: Path) -> None:
    """With what the image has. Whether the rate is kept is the machine's business; that it is told, ours."""
    rate = 50
    values = "tls.secretName=", "loadTest.p99=10000", f"loadTest.rate={rate}"
    job = of_kind(render(CHART / "ci" / "loadtest-values.yaml", *values), "Job")
    (container,) = job["spec"]["template"]["spec"]["containers"]
    container["env"].append({"name": "PYTHONPATH", "value": only_what_it_has("Dockerfile.cpu", tmp_path)})
    with Pod(job, tmp_path, server.grpc_url).start(subprocess.PIPE) as process:
        assert process.stdout
        said, status = process.stdout.read().decode(), process.wait(PATIENCE)
    report = load_report.read(tmp_path / "report" / "before" / "load.json")
    (found,) = report.models
    assert (found.model, report.server.name, report.server.started) == (MODEL, "triton", False)
    assert {run.rate for run in found.runs} == {rate}
    missed = [run.verdict for run in found.runs if run.verdict.missed]
    assert (status, found.rate) == ((1, 0) if missed else (0, rate)), missed
    assert sum(run.statuses["OK"] for run in found.runs) > 0
    assert said.startswith("model")
    assert [path.name for path in (tmp_path / "report" / "before").iterdir()] == ["load.json"]
