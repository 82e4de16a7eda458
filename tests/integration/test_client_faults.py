"""The client beside real servers that are killed, stopped, hung, full and strange."""

from __future__ import annotations

import itertools
import os
import re
import shlex
import shutil
import signal
import subprocess
import sys
import threading
import time
import urllib.request
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from functools import partial
from pathlib import Path

import numpy as np
import psutil
import pytest

from alexnet_client import (
    AlexNetClient,
    AlexNetError,
    DeadlineExceeded,
    InvalidRequest,
    NotPermitted,
    Overloaded,
    RequestError,
    Retry,
    Unavailable,
    _request,
)
from alexnet_client._images import as_file
from alexnet_client.contract import IMAGE, MAX_REQUEST_BYTES
from deploy.serve.probe import NotReady, check
from deploy.serve.server import LocalServer
from deploy.serve.tls import ServerTLS, TLSError
from tests.certificates import Certificates
from tests.conftest import ROOT, Built, environment
from tests.waiting import PATIENCE, wait_until
from training.data.open import open_split

MODEL = "alexnet_int8"
#: A server may be away for half a minute, and every request may use up its attempts.
PATIENT = Retry(attempts=60, backoff=0.2, budget=60)
PICTURES = np.random.default_rng(0).integers(0, 256, (64, *IMAGE.shape), np.uint8)


@pytest.fixture(scope="module")
def local(int8_repository: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[LocalServer]:
    with LocalServer(int8_repository, use_free_ports=True, work=tmp_path_factory.mktemp("work")) as running:
        yield running


@pytest.fixture(scope="module")
def right(local: LocalServer) -> np.ndarray:
    """The embedding of each picture."""
    with AlexNetClient(local.grpc_url, MODEL, timeout=PATIENCE) as client:
        return client.embed(PICTURES)


@contextmanager
def replica(repository: Path, work: Path) -> Iterator[tuple[psutil.Process, str]]:
    """A server in a process of its own, as a pod has one."""
    command = [sys.executable, "-m", "deploy.serve", "--repository", str(repository), "--free-ports"]
    command += ["--work", str(work)]
    with subprocess.Popen(command, cwd=ROOT, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True) as server:
        try:
            lines = list(itertools.takewhile(lambda line: not line.startswith("Ctrl-C"), server.stdout))
            (url,) = re.findall(r"gRPC +(\S+)", "".join(lines))
            yield psutil.Process(server.pid), url
        finally:
            server.terminate()
            server.wait(PATIENCE)


def test_a_server_that_dies_in_a_stream_loses_and_doubles_nothing(local: LocalServer, right: np.ndarray) -> None:
    """SIGKILL of tritonserver after a third: each answer comes once, in order, and is right."""
    count = 1500
    with AlexNetClient(local.grpc_url, MODEL, timeout=PATIENCE, retry=PATIENT) as client:
        answers = client.stream((PICTURES[place % 64] for place in range(count)), embed=True, in_flight=4)
        for place, answer in enumerate(answers):
            if place == count // 3:
                os.kill(local.pid, signal.SIGKILL)
            assert answer.place == place
            np.testing.assert_array_equal(answer.embedding, right[place % 64])
    assert place == count - 1


def _nobody_waits_beyond_the_deadline(hangs: str) -> None:
    with AlexNetClient(hangs, MODEL, timeout=2.0) as client:
        started = time.monotonic()
        with pytest.raises(DeadlineExceeded):
            client.embed(PICTURES)
        assert time.monotonic() - started < 2.2


def test_of_two_replicas_one_may_go_and_no_call_fails(
    local: LocalServer, int8_repository: Path, tmp_path: Path, right: np.ndarray
) -> None:
    """Once by SIGTERM, as a rolling update does it; once it hangs and is then killed. Under load both times."""
    for ending in (signal.SIGTERM, signal.SIGKILL):
        with replica(int8_repository, tmp_path / str(ending)) as (process, url):
            failed: list[Exception] = []
            answered: list[int] = []
            stop = threading.Event()
            with AlexNetClient([local.grpc_url, url], MODEL, timeout=PATIENCE, retry=PATIENT) as client:

                def ask(place: int, client=client, stop=stop, failed=failed, answered=answered) -> None:
                    while not stop.is_set():
                        try:
                            np.testing.assert_array_equal(client.embed(PICTURES[place])[0], right[place])
                            answered.append(place)
                        except Exception as error:
                            failed.append(error)

                def more(many: int, answered=answered) -> None:
                    """So many more answers."""
                    until = len(answered) + many
                    wait_until(lambda: len(answered) > until, f"{many} answers")

                with ThreadPoolExecutor(4) as pool:
                    for place in range(4):
                        pool.submit(ask, place)
                    try:
                        more(50)
                        family = [process, *process.children(recursive=True)]
                        if ending == signal.SIGKILL:
                            for each in family:
                                each.suspend()
                            _nobody_waits_beyond_the_deadline(url)
                        for each in family if ending == signal.SIGKILL else family[:1]:
                            each.send_signal(ending)
                        psutil.wait_procs(family, timeout=PATIENCE)
                        more(50)
                    finally:
                        stop.set()
            assert not failed, failed[0]


def test_a_full_server_refuses_whoever_does_not_wait_and_answers_whoever_does(local: LocalServer, right) -> None:
    """130 callers at once: of 32 images each some are Overloaded; of 2 each, with retries, all are answered."""

    def ask(client: AlexNetClient, images: int) -> BaseException | None:
        try:
            np.testing.assert_array_equal(client.embed(PICTURES[:images]), right[:images])
        except AlexNetError as error:
            return error
        return None

    with ThreadPoolExecutor(130) as pool:
        with AlexNetClient(local.grpc_url, MODEL, timeout=PATIENCE, retry=Retry(attempts=1)) as client:
            refused = {type(error) for error in pool.map(ask, [client] * 130, [32] * 130) if error}
        # On a starved machine a backend process ends rather than answer late (deploy/backends/silence.py).
        assert Overloaded in refused <= {Overloaded, Unavailable}
        with AlexNetClient(local.grpc_url, MODEL, timeout=PATIENCE, retry=PATIENT) as client:
            assert not [error for error in pool.map(ask, [client] * 130, [2] * 130) if error]


def test_what_nobody_waits_for_is_not_worked_on(local: LocalServer) -> None:
    """Requests whose deadline has passed while they waited: the server's own count of what it ran says so."""

    with AlexNetClient(local.grpc_url, MODEL, timeout=PATIENCE) as client, ThreadPoolExecutor(64) as pool:
        client.embed(PICTURES)
        asked = metric(local, f'nv_inference_count{{model="{MODEL}"')
        with AlexNetClient(local.grpc_url, MODEL, timeout=0.05, retry=Retry(attempts=1)) as hasty:

            def give_up(_: int) -> bool:
                try:
                    hasty.embed(PICTURES[:32])
                except RequestError:
                    return True
                return False

            given_up = sum(pool.map(give_up, range(64)))
        assert given_up > 32
        client.embed(PICTURES[0])
        worked = metric(local, f'nv_inference_count{{model="{MODEL}"') - asked
        assert worked < 32 * 64 * 0.75


def metric(server: LocalServer, name: str) -> float:
    with urllib.request.urlopen(server.metrics_url) as answer:
        lines = answer.read().decode().splitlines()
    return sum(float(line.rpartition(" ")[2]) for line in lines if line.startswith(name))


def test_a_message_that_is_too_large_is_said_so(local: LocalServer, monkeypatch: pytest.MonkeyPatch) -> None:
    """Ours never sends one; another client might."""
    monkeypatch.setattr(_request, "IMAGES_A_REQUEST", 300)
    many = np.broadcast_to(PICTURES[0], (MAX_REQUEST_BYTES // PICTURES[0].nbytes + 2, *IMAGE.shape))
    with AlexNetClient(local.grpc_url, MODEL, timeout=PATIENCE) as client:
        with pytest.raises(InvalidRequest, match=r"has at most 33,554,432 bytes|larger than max"):
            client.embed(many)
        assert client.embed(PICTURES[0]).shape == (1, 4096)


def test_of_64_images_two_are_bad_and_the_others_are_answered(local: LocalServer, built: Built) -> None:
    images = open_split(built.data, "test")
    files = [images.file(place) for place in range(64)]
    with AlexNetClient(local.grpc_url, timeout=PATIENCE) as client:
        right = client.embed(files)
        files[3], files[17] = b"no image", files[17][:100]
        answers = list(client.stream(files, top_k=1, embed=True))
    assert [answer.place for answer in answers if answer.error] == [3, 17]
    for place, answer in enumerate(answers):
        assert (answer.predictions is None) == (place in (3, 17))
        if answer.error is None:
            np.testing.assert_array_equal(answer.embedding, right[place])


def test_the_servers_certificate_is_looked_at_and_may_be_renewed(int8_repository: Path, tmp_path: Path) -> None:
    """By renaming, as a mounted secret is; nobody who is connected notices."""
    first, second, mounted = (tmp_path / name for name in ("first", "second", "mounted"))
    for folder in (first, second):
        folder.mkdir()
    ours, theirs = Certificates(first), Certificates(second)
    shutil.copytree(first, mounted)
    tls = ServerTLS(mounted / "server.pem", mounted / "server.key", mounted / "ca.pem")
    with (
        LocalServer(int8_repository, use_free_ports=True, work=tmp_path / "work", tls=tls) as server,
        AlexNetClient(server.grpc_url, MODEL, tls=ours.mutual, timeout=PATIENCE) as client,
    ):
        vector = client.embed(PICTURES[0])
        for stranger, kind, message in (
            (theirs.mutual, NotPermitted, "do not agree on who they are"),
            (ours.tls, NotPermitted, "give `tls` certificate and key (ALEXNET_TLS_CERTIFICATE, ALEXNET_TLS_KEY)"),
            (None, Unavailable, "if it speaks TLS, give `tls` (ALEXNET_TLS_CA)"),
        ):
            with (
                AlexNetClient(server.grpc_url, MODEL, tls=stranger, retry=Retry(attempts=1)) as other,
                pytest.raises(kind, match=re.escape(message)),
            ):
                other.embed(PICTURES[0])
        for name in ("ca.pem", "server.key", "server.pem"):
            shutil.copy(second / name, mounted / f".{name}")
        for name in ("ca.pem", "server.key", "server.pem"):
            (mounted / f".{name}").replace(mounted / name)

        def renewed() -> bool:
            try:
                with AlexNetClient(server.grpc_url, MODEL, tls=theirs.mutual) as other:
                    np.testing.assert_array_equal(other.embed(PICTURES[0]), vector)
            except RequestError:
                return False
            return True

        wait_until(renewed, "the new certificate")
        assert MODEL in check(server.grpc_url, PATIENCE, tls=theirs.mutual)
        with pytest.raises(NotReady):
            check(server.grpc_url, 1)
        np.testing.assert_array_equal(client.embed(PICTURES[0]), vector)


def test_the_readmes_way_to_try_it(int8_repository: Path, tmp_path: Path) -> None:
    """Its five commands, but for the ports and what is served and asked."""
    page = (ROOT / "client" / "README.md").read_text()
    (block,) = re.findall(r"^```sh\n(mkdir -p build/tls .*?)^```", page, re.MULTILINE | re.DOTALL)
    make, serve, export, *ask = (line.partition("  #")[0] for line in block.splitlines())
    image = tmp_path / "build" / "demo" / "samples" / "one.png"
    image.parent.mkdir(parents=True)
    image.write_bytes(as_file(PICTURES[0]))
    env = environment() | {"PATH": f"{Path(sys.executable).parent}:{os.environ['PATH']}"}
    run = partial(subprocess.run, cwd=tmp_path, env=env, shell=True, capture_output=True, text=True, check=True)
    run(make)
    serve += f" --free-ports --repository {int8_repository} --work {tmp_path / 'work'}"
    with subprocess.Popen(shlex.split(serve), cwd=tmp_path, env=env, stdout=subprocess.PIPE, text=True) as server:
        try:
            url = next(line.split()[1] for line in server.stdout if line.strip().startswith("gRPC"))
            for command in ask:
                done = run(f"{export}; {command} --url {url}")
                assert done.stdout
                assert not done.stderr
        finally:
            server.terminate()


def test_a_certificate_that_cannot_be_used_is_said_at_once(int8_repository: Path, tmp_path: Path) -> None:
    for name in ("one", "other"):
        (tmp_path / name).mkdir()
        Certificates(tmp_path / name)
    (tmp_path / "bad.pem").write_text("no certificate")
    one = tmp_path / "one"
    for tls, what in (
        (ServerTLS(one / "server.pem", tmp_path / "other" / "server.key"), "its own private key"),
        (ServerTLS(tmp_path / "bad.pem", one / "server.key"), "bad.pem"),
        (ServerTLS(one / "server.pem", one / "server.key", tmp_path / "bad.pem"), "bad.pem"),
    ):
        with pytest.raises(TLSError, match=what):
            LocalServer(int8_repository, use_free_ports=True, work=tmp_path / "work", tls=tls).start()
