"""A tritonserver whose network sleeps: its queue and its batcher alone decide how much of the time it sleeps."""

from __future__ import annotations

import tempfile
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from alexnet_client.contract import precision_model
from deploy.backends import __file__ as backends
from deploy.serve import processes
from deploy.serve.door import Door
from deploy.serve.flags import Options, command
from deploy.serve.installation import find
from deploy.serve.ports import HOST, Ports, free_ports
from deploy.serve.probe import Probe
from deploy.serve.process import ServerError, TritonProcess
from deploy.serve.sockets import Sockets
from deploy.serve.times import Times
from export.artefacts import artefact
from export.release import CONFIG, configuration

#: Its configuration is the published model's, queue and instances included.
MODEL = precision_model("int8")


@dataclass(frozen=True)
class Sleep:
    """Seconds that a batch takes, whatever is in it, and each of its images beside that."""

    batch: float
    image: float

    def __str__(self) -> str:
        return f"{self.batch} {self.image}"


SECONDS_AN_IMAGE = 0.01


@contextmanager
def sleeping_server(
    work: Path,
    models: Sequence[str] = (MODEL,),
    sleep: Sleep = Sleep(0.0, SECONDS_AN_IMAGE),
    ports: Ports | None = None,
) -> Iterator[str]:
    """Serve models that sleep; yields ``host:port``.

    Args:
        models: of the contract, those that are sent pixels.
        ports: of the door; free ones by default.

    Raises:
        deploy.serve.installation.InstallationError: something is not installed.
        ServerError: it does not answer; names the log.
    """
    installation, times, ports = find(work), Times(), ports or free_ports()
    prefix, log = processes.own_prefix(), work / "sleeping.log"
    with tempfile.TemporaryDirectory(prefix=prefix) as name:
        folder, sockets = Path(name), Sockets(Path(name))
        (folder / "backends" / "onnxruntime").mkdir(parents=True)
        (folder / "backends" / "python").symlink_to((installation.backends / "python").absolute())
        code = Path(str(backends)).with_name("sleeping.py").read_text()
        (folder / "backends" / "onnxruntime" / "model.py").write_text(code)
        for each in models:
            model = folder / "repository" / each
            (model / "1").mkdir(parents=True)
            (model / CONFIG).write_text(configuration(each, classes=1, precision=""))
            (model / artefact.LABELS_FILE).write_text("asleep\n")
            (model / "1" / artefact.MODEL_FILE).write_text(str(sleep))
        options = Options(
            installation.binary, folder / "repository", folder / "backends", sockets, prefix, stop=times.stop
        )
        server = TritonProcess(command(options), installation.environment, log, prefix)
        door, url = Door(ports, folder / "door", log), f"{HOST}:{ports.grpc}"
        probe = Probe(url)
        try:
            door.lead_to(sockets, times.door)
            door.open(times.door)
            deadline = time.monotonic() + times.start
            while not all(probe.answers(each) for each in models):
                if not server.alive or time.monotonic() > deadline:
                    raise ServerError(f"the sleeping network does not answer: see {log}")
                time.sleep(times.watch)
            yield url
        finally:
            probe.close()
            door.close()
            server.end()
