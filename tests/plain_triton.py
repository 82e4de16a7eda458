"""A tritonserver as anybody would start it: on a port of its own, with nothing before it and nothing shut."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import grpc
from tritonclient.grpc.service_pb2 import ServerReadyRequest
from tritonclient.grpc.service_pb2_grpc import GRPCInferenceServiceStub

from deploy.serve import processes
from deploy.serve.installation import find
from deploy.serve.ports import HOST, free_ports
from deploy.serve.process import TritonProcess
from tests.waiting import wait_until


@contextmanager
def plain_triton(model: Path, work: Path, port: int | None = None) -> Iterator[str]:
    """Serve a model of a repository, without code of its own, beside which Python would write; yields ``host:port``."""
    installation, port, prefix = find(work), port or free_ports().grpc, processes.own_prefix()
    view = work / "models"
    view.mkdir(exist_ok=True)
    if not (view / model.name).exists():
        (view / model.name).symlink_to(model.absolute())
    command = [
        str(installation.binary),
        f"--model-repository={view.absolute()}",
        f"--backend-directory={installation.backends.absolute()}",
        f"--grpc-address={HOST}",
        f"--grpc-port={port}",
        "--allow-http=false",
        "--allow-metrics=false",
        "--disable-auto-complete-config",
        f"--backend-config=python,shm-region-prefix-name={prefix}",
    ]
    server = TritonProcess(command, installation.environment, work / "tritonserver.log", prefix)
    try:
        with grpc.insecure_channel(url := f"{HOST}:{port}") as channel:
            stub = GRPCInferenceServiceStub(channel)

            def ready() -> bool:
                assert server.alive, (work / "tritonserver.log").read_text()
                try:
                    return bool(stub.ServerReady(ServerReadyRequest(), timeout=1).ready)
                except grpc.RpcError:
                    return False

            wait_until(ready, "the server")
        yield url
    finally:
        server.end()
