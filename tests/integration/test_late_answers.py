"""Answers that come late are nobody's: they are not believed, and whoever gives them is replaced."""

from __future__ import annotations

import threading
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from alexnet_client import AlexNetClient, AlexNetError, AnswerMismatch, Retry
from alexnet_client.contract import IMAGE
from deploy.serve import server as module
from deploy.serve.installation import Installation, find
from deploy.serve.probe import NotReady, check
from deploy.serve.server import LocalServer
from deploy.serve.times import Times
from tests.patterns import Patterns
from tests.waiting import PATIENCE, wait_until

MODEL = "alexnet_int8"
PIXELS = np.random.default_rng(0).integers(0, 256, (12, *IMAGE.shape), np.uint8)
#: The backend; its network is one batch behind while a file is there, as after a stop that Triton did not wait out.
LATE = """
import numpy as np
from pathlib import Path
from deploy.backends.onnxruntime import model

class Late:
    def __init__(self, network):
        self.network, self.before = network, {}

    def run(self, pixels, outputs):
        answers = self.network.run(pixels)
        before, self.before = self.before, answers
        if Path(%r).exists() and before:
            answers = {name: np.resize(rows, answers[name].shape) for name, rows in before.items()}
        return {name: answers[name] for name in outputs}

class TritonPythonModel(model.TritonPythonModel):
    def load(self, path):
        return Late(super().load(path))
"""


@pytest.fixture
def late(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """While this file is there, networks answer late."""
    marker = tmp_path / "late"

    def find_late(work: Path) -> Installation:
        found, backends = find(work), tmp_path / "backends"
        if not backends.exists():
            (backends / "onnxruntime").mkdir(parents=True)
            (backends / "python").symlink_to((found.backends / "python").absolute())
            (backends / "onnxruntime/model.py").write_text(LATE % str(marker))
        return replace(found, backends=backends)

    monkeypatch.setattr(module, "find", find_late)
    return marker


def test_they_are_never_believed(int8_repository: Path, tmp_path: Path, late: Path) -> None:
    """Each time, of pixels and of files, by the client and by the probe."""
    unwatched = Times(watch=3600)
    with LocalServer(int8_repository, use_free_ports=True, work=tmp_path / "work", times=unwatched) as server:
        with AlexNetClient(server.grpc_url, MODEL, timeout=PATIENCE, retry=Retry(attempts=1)) as client:
            right = client.embed(PIXELS)
            late.touch()  # each process has something to be behind with: its warm-up
            for image in PIXELS:
                with pytest.raises(AnswerMismatch):
                    client.embed(image)
        with AlexNetClient(server.grpc_url, timeout=PATIENCE, retry=Retry(attempts=1)) as client:
            for number in range(6):
                with pytest.raises(AnswerMismatch):
                    client.classify(Patterns().file(number))
        with pytest.raises(NotReady, match="answers another request"):
            check(server.grpc_url, PATIENCE)
        late.unlink()
        with AlexNetClient(server.grpc_url, MODEL, timeout=PATIENCE) as client:
            np.testing.assert_array_equal(client.embed(PIXELS), right)


def test_whoever_gives_them_is_replaced(int8_repository: Path, tmp_path: Path, late: Path) -> None:
    """Found by the supervisor's own questions, while callers see errors at most."""
    with LocalServer(int8_repository, use_free_ports=True, work=tmp_path / "work") as server:
        with AlexNetClient(server.grpc_url, MODEL, timeout=PATIENCE) as client:
            right = client.embed(PIXELS)
        wrong, done = [], threading.Event()

        def ask(number: int) -> None:
            with AlexNetClient(server.grpc_url, MODEL, timeout=PATIENCE) as client:
                while not done.wait(0.01):
                    try:
                        if not np.array_equal(client.embed(PIXELS[number : number + 1]), right[number : number + 1]):
                            wrong.append(number)
                    except AlexNetError:
                        continue

        with ThreadPoolExecutor(4) as pool:
            for number in range(4):
                pool.submit(ask, number)
            try:
                first = server.pid
                late.touch()
                wait_until(lambda: f"{MODEL} answers other requests" in (str(server.trouble()) or ""), "the finding")
                late.unlink()
                wait_until(lambda: server.pid not in (None, first), "another server")
                wait_until(lambda: server.trouble() is None, "an end of it")
            finally:
                done.set()
        assert not wrong
