"""A tritonserver whose network sleeps: its queue and its batcher alone decide how much of the time it sleeps."""

from __future__ import annotations

import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from alexnet_client.contract import precision_model
from deploy.backends import __file__ as backends
from deploy.serve import processes
from deploy.serve.door import Door
from deploy.serve.flags import Options, command
from deploy.serve.installation import find
from deploy.serve.ports import HOST, free_ports
from deploy.serve.probe import Probe
from deploy.serve.process import ServerError, TritonProcess
from deploy.serve.sockets import Sockets
from deploy.serve.times import Times
from export.artefacts import artefact
from export.release import CONFIG, configuration

#: Its configuration is the published model's, queue and instances included.
MODEL = precision_model("int8")
SECONDS_AN_IMAGE = 0.01


@contextmanager
def sleeping_server(work: Path) -> Iterator[str]:
    """Serve :data:`MODEL` with :data:`SECONDS_AN_IMAGE` of sleep an image; yields ``host:port``.

    Raises:
        deploy.serve.installation.InstallationError: something is not installed.
        ServerError: it does not answer; names the log.
    """
    installation, times, ports = find(work), Times(), free_ports()
    prefix, log = processes.own_prefix(), work / "sleeping.log"
    with tempfile.TemporaryDirectory(prefix=prefix) as name:
        folder, sockets = Path(name), Sockets(Path(name))
        (folder / "backends" / "onnxruntime").mkdir(parents=True)
        (folder / "backends" / "python").symlink_to((installation.backends / "python").absolute())
        code = Path(str(backends)).with_name("sleeping.py").read_text()
        (folder / "backends" / "onnxruntime" / "model.py").write_text(code)
        model = folder / "repository" / MODEL
        (model / "1").mkdir(parents=True)
        (model / CONFIG).write_text(configuration(MODEL, classes=1, precision=""))
        (model / artefact.LABELS_FILE).write_text("asleep\n")
        (model / "1" / artefact.MODEL_FILE).write_text(str(SECONDS_AN_IMAGE))
        options = Options(installation.binary, model.parent, folder / "backends", sockets, prefix, stop=times.stop)
        server = TritonProcess(command(options), installation.environment, log, prefix)
        door, url = Door(ports, folder / "door", log), f"{HOST}:{ports.grpc}"
        probe = Probe(url)
        try:
            door.lead_to(sockets, times.door)
            door.open(times.door)
            deadline = time.monotonic() + times.start
            while not probe.answers(MODEL):
                if not server.alive or time.monotonic() > deadline:
                    raise ServerError(f"the sleeping network does not answer: see {log}")
                time.sleep(times.watch)
            yield url
        finally:
            probe.close()
            door.close()
            server.end()
