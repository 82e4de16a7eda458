"""The supervisor: refuses what was changed, brings back what died, leaves nothing behind."""

from __future__ import annotations

import os
import secrets
import shutil
import signal
import socket
import subprocess
import sys
import threading
import time
from contextlib import suppress
from pathlib import Path

import grpc
import numpy as np
import psutil
import pytest
from grpc_health.v1.health_pb2 import HealthCheckRequest, HealthCheckResponse
from grpc_health.v1.health_pb2_grpc import HealthStub
from tritonclient.utils import InferenceServerException

from alexnet_client import AlexNetClient, AlexNetError, Prediction, Retry, UnknownModel
from deploy.serve import processes, python_env
from deploy.serve.ports import Ports, PortTaken
from deploy.serve.probe import Probe
from deploy.serve.process import ServerError
from deploy.serve.repository import RepositoryError
from deploy.serve.server import LocalServer
from export.publish import publish
from tests.conftest import ROOT, Built
from tests.waiting import PATIENCE, wait_until
from training.data.image_set import ImageSet
from training.data.open import open_split


@pytest.fixture
def repository(built: Built, tmp_path: Path) -> Path:
    """A repository of FP32 and INT8 for a test that changes it."""
    target = tmp_path / "repository"
    publish(target, [built.artefacts / "fp32", built.artefacts / "int8-cpu"], "int8")
    return target


@pytest.fixture
def test_images(built: Built) -> ImageSet:
    return open_split(built.data, "test")


def top1(client: AlexNetClient, file: bytes) -> list[Prediction]:
    return client.classify(file, top_k=1)[0]


def answers_files(server: LocalServer, images: ImageSet) -> bool:
    try:
        with AlexNetClient(server.grpc_url, "alexnet", timeout=2) as client:
            return bool(top1(client, images.file(0)))
    except AlexNetError:
        return False


def ready(server: LocalServer) -> bool:
    """What it says of itself, without an inference."""
    probe = Probe(server.grpc_url)
    try:
        return probe.ready()
    except InferenceServerException:
        return False
    finally:
        probe.close()


def flip(path: Path) -> None:
    data = bytearray(path.read_bytes())
    data[len(data) // 2] ^= 1
    path.write_bytes(data)


def nothing_left(prefix: str) -> bool:
    return not processes.called(prefix)


def test_a_flipped_byte_is_refused_by_name_and_the_rest_is_served(
    repository: Path, tmp_path: Path, test_images: ImageSet
) -> None:
    flip(repository / "alexnet_int8/1/model.onnx")
    with LocalServer(repository, use_free_ports=True, work=tmp_path / "work") as server:
        assert server.models == ("alexnet_decode", "alexnet_fp32")
        assert "alexnet_int8/1/model.onnx was changed after it was proved" in server.refused["alexnet_int8"]
        assert server.refused["alexnet"] == "alexnet needs alexnet_int8, which is not served"
        with AlexNetClient(server.grpc_url, "alexnet_fp32") as client:
            assert top1(client, test_images.file(0))
            assert client.health().models == ("alexnet_fp32",)


def test_a_graph_that_does_not_load_is_refused_by_name(repository: Path, tmp_path: Path) -> None:
    """A file whose manifest agrees, and that is no ONNX graph; and an engine where there is no GPU."""
    from dataclasses import replace

    from export.artefacts import manifest

    def put(model: str, name: str, data: bytes) -> None:
        folder = repository / model
        (folder / "1/model.onnx").unlink()
        (folder / "1" / name).write_bytes(data)
        record = manifest.read(folder / "1")
        files = [*(each for each in record.files if each != "1/model.onnx"), f"1/{name}"]
        replace(record, files=manifest.hashes(folder, files)).write(folder / "1")

    put("alexnet_int8", "model.onnx", b"no graph")
    put("alexnet_fp32", "model.plan", b"no engine")
    with LocalServer(repository, use_free_ports=True, work=tmp_path / "work") as server:
        assert server.models == ("alexnet_decode",)
        assert "cannot be loaded" in server.refused["alexnet_int8"]
        assert "has no engine: publish one" in server.refused["alexnet_fp32"]


def test_nothing_to_serve_is_an_error(repository: Path, tmp_path: Path) -> None:
    for model in repository.iterdir():
        (model / "1/manifest.json").unlink()
    with pytest.raises(ServerError, match=r"no model can be served: .*manifest\.json is missing"):
        LocalServer(repository, use_free_ports=True, work=tmp_path / "work").start()
    with pytest.raises(RepositoryError, match="there is no model repository at"):
        LocalServer(tmp_path / "nowhere", use_free_ports=True).start()


def test_a_taken_port_is_named(int8_repository: Path) -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        port = taken.getsockname()[1]
        with pytest.raises(PortTaken, match=rf"port {port} \(grpc\) on 127\.0\.0\.1 is taken .*--grpc-port"):
            LocalServer(int8_repository, Ports(http=0, grpc=port, metrics=0)).start()
    with pytest.raises(PortTaken, match=r"'localhost' is no IPv4 address: give --host one of this machine"):
        LocalServer(int8_repository, Ports(host="localhost")).start()
    with pytest.raises(PortTaken, match=r"port 8001 \(grpc\) on 192\.0\.2\.1 is taken or not allowed"):
        LocalServer(int8_repository, Ports(host="192.0.2.1")).start()


def test_a_killed_backend_process_comes_back_and_nothing_is_answered_wrongly(
    int8_repository: Path, tmp_path: Path, test_images: ImageSet
) -> None:
    with LocalServer(int8_repository, use_free_ports=True, work=tmp_path / "work") as server:
        with AlexNetClient(server.grpc_url, "alexnet_int8", timeout=3) as client:
            right = {i: client.embed(test_images.file(i)).tobytes() for i in range(5)}
            stub, _ = [pid for pid, model in processes.stubs(server.pid).items() if model == "alexnet_int8"]
            os.kill(stub, signal.SIGKILL)  # one of the two; it may hold the turn
            killed = time.monotonic()
            # However the other one answers.
            wait_until(lambda: not ready(server), "readiness to be denied")
            failures, answers = 0, 0
            while answers < 20:
                assert time.monotonic() - killed < PATIENCE
                try:
                    for i, wanted in right.items():
                        assert client.embed(test_images.file(i)).tobytes() == wanted
                    answers += 1
                except AlexNetError as error:
                    assert not isinstance(error, UnknownModel)  # it is known, and on its way
                    failures += 1
                    threading.Event().wait(0.05)
            assert stub not in processes.stubs(server.pid)
        wait_until(lambda: answers_files(server, test_images), "the ensemble on top of it")
        wait_until(lambda: ready(server), "readiness")
        prefixes = server._room.prefix, f"{processes.PREFIX}{server.pid}-"
        assert processes.lock_file(server.pid, "alexnet_int8").exists()
    assert all(nothing_left(prefix) for prefix in prefixes)


def test_a_killed_server_is_started_again(int8_repository: Path, tmp_path: Path, test_images: ImageSet) -> None:
    with LocalServer(int8_repository, use_free_ports=True, work=tmp_path / "work") as server:
        first = server.pid
        os.kill(first, signal.SIGKILL)

        wait_until(lambda: server.pid not in (None, first), "a new server")
        wait_until(lambda: answers_files(server, test_images), "an answer")


def test_a_folder_that_is_cleared_away_comes_back_closed_to_others(
    int8_repository: Path, tmp_path: Path, test_images: ImageSet
) -> None:
    """As by whoever tidies up the folder for temporary files."""
    with LocalServer(int8_repository, use_free_ports=True, work=tmp_path / "work") as server:
        first = server.pid
        shutil.rmtree(server._folder)
        wait_until(lambda: server.pid not in (None, first), "a new server")
        wait_until(lambda: answers_files(server, test_images), "an answer")
        assert server._folder.stat().st_mode & 0o077 == 0


def test_a_stopped_process_never_speaks_again_and_is_replaced(
    int8_repository: Path, tmp_path: Path, test_images: ImageSet
) -> None:
    """Under load: one that continues after a stop answers with the bytes of other requests, and status OK."""
    with LocalServer(int8_repository, use_free_ports=True, work=tmp_path / "work") as server:
        with AlexNetClient(server.grpc_url, timeout=3) as client:
            right = {i: client.embed(test_images.file(i)).tobytes() for i in range(4)}
        wrong, done = [], threading.Event()

        def ask(number: int) -> None:
            with AlexNetClient(server.grpc_url, timeout=3) as client:
                while not done.wait(0.02):  # which leaves something to who starts
                    with suppress(AlexNetError):
                        if client.embed(test_images.file(number)).tobytes() != right[number]:
                            wrong.append(number)

        threads = [threading.Thread(target=ask, args=(number,)) for number in right]
        for thread in threads:
            thread.start()
        try:
            for who in ("door", "alexnet_int8", "alexnet_decode", "tritonserver"):
                first = server.pid
                stubs = {model: stub for stub, model in processes.stubs(first).items()}
                stopped = server._door.pid if who == "door" else stubs.get(who, first)
                os.kill(stopped, signal.SIGSTOP)
                try:
                    wait_until(lambda stopped=stopped: is_dead(stopped), f"the end of {who}")
                finally:
                    if not is_dead(stopped):
                        os.kill(stopped, signal.SIGKILL)
                if who != "door":
                    wait_until(lambda first=first: server.pid not in (None, first), "a new server")
                wait_until(lambda: answers_files(server, test_images), "an answer")
        finally:
            done.set()
            for thread in threads:
                thread.join()
        assert wrong == []


def stubs_of(server: LocalServer, model: str) -> list[int]:
    return [stub for stub, its in processes.stubs(server.pid).items() if its == model]


def test_a_second_fault_while_the_first_is_mended_is_met_as_the_first(repository: Path, tmp_path: Path) -> None:
    """All of a model's processes are stopped while another server starts: killed before they can go on."""
    with LocalServer(repository, use_free_ports=True, work=tmp_path / "work") as server:
        first, stopped = server.pid, stubs_of(server, "alexnet_int8")
        os.kill(stubs_of(server, "alexnet_fp32")[0], signal.SIGKILL)
        wait_until(lambda: not ready(server), "readiness to be denied")
        for stub in stopped:
            os.kill(stub, signal.SIGSTOP)
        try:
            wait_until(lambda: all(map(is_dead, stopped)), "an end of what was stopped")
            assert server.pid == first  # the other one still starts
        finally:
            for stub in stopped:
                with suppress(ProcessLookupError):
                    os.kill(stub, signal.SIGKILL)
        wait_until(lambda: server.pid not in (None, first) and ready(server), "a new server")
        for model in ("alexnet_fp32", "alexnet_int8"):
            with AlexNetClient(server.grpc_url, model, timeout=PATIENCE) as client:
                assert client.health(infer=True).ok


def test_who_has_no_part_in_two_faults_answers_throughout(repository: Path, tmp_path: Path) -> None:
    """And who watches the server's health (``grpc.health.v1``) is told of it, and of its end."""
    pixels = np.zeros((224, 224, 3), np.uint8)
    with (
        LocalServer(repository, use_free_ports=True, work=tmp_path / "work") as server,
        AlexNetClient(server.grpc_url, "alexnet_int8", timeout=PATIENCE, retry=Retry(attempts=1)) as client,
        grpc.insecure_channel(server.grpc_url) as channel,
    ):
        watch = HealthStub(channel).Watch(HealthCheckRequest(), timeout=PATIENCE)
        assert next(watch).status == HealthCheckResponse.SERVING
        first = server.pid
        for model in ("alexnet_fp32", "alexnet_decode"):
            for stub in stubs_of(server, model):
                os.kill(stub, signal.SIGKILL)
            wait_until(lambda: not ready(server), "readiness to be denied")
            assert client.embed(pixels).shape == (1, 4096)

        def replaced() -> bool:
            client.embed(pixels)
            return server.pid not in (None, first)

        wait_until(replaced, "a new server")
        told = [HealthCheckResponse.NOT_SERVING, HealthCheckResponse.SERVING]
        assert [next(watch).status, next(watch).status] == told


def is_dead(process: int) -> bool:
    try:
        return bool(psutil.Process(process).status() == psutil.STATUS_ZOMBIE)
    except psutil.NoSuchProcess:
        return True


@pytest.mark.parametrize("ending", [signal.SIGINT, signal.SIGTERM, signal.SIGKILL])
def test_the_command_leaves_no_process_no_port_and_no_shared_memory(
    int8_repository: Path, ending: signal.Signals
) -> None:
    """Ctrl-C, SIGTERM, and a kill that the supervisor itself cannot notice, with everything behind it hung on top."""
    command = [sys.executable, "-m", "deploy.serve", "--repository", str(int8_repository), "--free-ports"]
    running = subprocess.Popen(command, cwd=ROOT, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
    assert running.stdout is not None
    lines = []
    for line in running.stdout:
        lines.append(line)
        if line.startswith("Ctrl-C"):
            break
    port = int(next(line for line in lines if line.split()[:1] == ["gRPC"]).rpartition(":")[2])
    notes = processes.FOLDERS.glob(f"{processes.PREFIX}{running.pid}-*{python_env.NOTE}")
    made = {name for note in notes for name in note.read_text().split()[1:]}  # none, if another server was starting
    assert made <= python_env.present()
    family = psutil.Process(running.pid).children(recursive=True)
    assert any(processes.STUB in process.name() or "stub" in process.cmdline()[0] for process in family)
    if ending == signal.SIGKILL:
        for process in family:
            if any("triton" in word for word in process.cmdline()[:1]):
                process.suspend()
    running.send_signal(ending)
    output, errors = running.communicate(timeout=PATIENCE)
    if ending != signal.SIGKILL:
        assert running.returncode == 0, errors
        assert "stopped" in output
    _, alive = psutil.wait_procs(family, timeout=PATIENCE)
    assert not alive
    with socket.socket() as probe:
        assert probe.connect_ex(("127.0.0.1", port)) != 0
    wait_until(lambda: nothing_left(f"{processes.PREFIX}{running.pid}-"), "shared memory and folder cleared")
    assert not made & python_env.present()


def test_what_a_server_was_asked_before_its_stop_it_answers(int8_repository: Path, tmp_path: Path) -> None:
    """From eight threads that ask once: each is answered until it is refused at the door; no connection is cut."""
    pixels, said, answered = np.zeros((32, 224, 224, 3), np.uint8), [], threading.Semaphore(0)
    server = LocalServer(int8_repository, use_free_ports=True, work=tmp_path / "work").start()

    def ask() -> None:
        with AlexNetClient(server.grpc_url, "alexnet_int8", timeout=20, retry=Retry(attempts=1)) as client:
            try:
                while True:
                    client.infer(pixels)
                    answered.release()
            except AlexNetError as error:
                said.append(str(error))

    threads = [threading.Thread(target=ask) for _ in range(8)]
    for thread in threads:
        thread.start()
    for _ in threads:
        answered.acquire()
    server.stop()
    for thread in threads:
        thread.join()
    assert len(said) == 8
    assert all("no healthy upstream" in text or "failed to connect" in text for text in said), said


def test_a_stop_with_a_dead_backend_process_does_not_wait_for_it(int8_repository: Path, tmp_path: Path) -> None:
    server = LocalServer(int8_repository, use_free_ports=True, work=tmp_path / "work").start()
    family, prefix = psutil.Process(server.pid).children(recursive=True), server._room.prefix
    server._stopping.set()  # the watcher would bring it back
    server._watcher.join()
    for stub in processes.stubs(server.pid):
        os.kill(stub, signal.SIGKILL)
    started = time.monotonic()
    server.stop()
    assert time.monotonic() - started < PATIENCE / 2  # Triton waits longer
    assert nothing_left(prefix)
    assert not psutil.wait_procs(family, timeout=PATIENCE)[1]
    server.stop()


def test_what_a_killed_supervisor_left_is_cleared_away(tmp_path: Path) -> None:
    dead = subprocess.Popen([sys.executable, "-c", ""])
    dead.wait()
    left = f"{processes.PREFIX}{dead.pid}-1f-0123abcd-"
    # Of one that had this process's id before it, as in a container that is started again.
    before = f"{processes.PREFIX}{os.getpid()}-1f-0123abcd-"
    names = f"{left}1-region", f"{before}1-region", f"{processes.own_prefix()}region"
    region, reused, own = (processes.SHARED_MEMORY / name for name in names)
    folder, lock = processes.FOLDERS / f"{left}server", processes.lock_file(dead.pid, "alexnet_int8")
    note, made = processes.FOLDERS / f"{left}1-{python_env.NOTE}", f"python_env_{secrets.token_hex(3)}"
    for each in (folder, python_env.FOLDER / made):
        each.mkdir()
    for path in (region, reused, own, lock, folder / "file"):
        path.touch()
    note.write_text(f"{dead.pid}\n{made}")
    # An orphan of the server, and someone else's process that happens to name it.
    orphan = subprocess.Popen([processes.STUB, "-c", "read line", left], executable="/bin/sh", stdin=subprocess.PIPE)
    named = subprocess.Popen(["/bin/sh", "-c", "read line", left], stdin=subprocess.PIPE)
    try:
        processes.clear_leftovers()
        assert not any(path.exists() for path in (region, reused, folder, lock, note, python_env.FOLDER / made))
        assert own.exists()
        assert is_dead(orphan.pid)
        assert named.poll() is None
    finally:
        own.unlink()
        for process in (orphan, named):
            process.kill()
            process.communicate()
