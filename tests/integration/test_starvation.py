"""A server that gets too little of the processors is slow, and says nothing that is wrong."""

from __future__ import annotations

import ctypes
import os
import threading
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np

from alexnet_client import AlexNetClient, AlexNetError, Retry
from alexnet_client.contract import IMAGE
from deploy.serve import processes
from deploy.serve.server import LocalServer
from export.publish import publish
from tests.conftest import Built
from tests.waiting import PATIENCE, wait_until

MODEL = "alexnet_fp32"
IMAGES = 8
PICTURES = np.random.default_rng(0).integers(0, 256, (64, *IMAGE.shape), np.uint8)
PTRACE_SEIZE, PTRACE_INTERRUPT = 0x4206, 0x4207


def starve(stub: int) -> None:
    """Give a backend process one processor, and the thread that gives its signs of life none, while this thread lives.

    It is traced, and stopped: Triton sees of it what it sees where hundreds want to run.
    """
    threads = sorted(int(task.name) for task in Path(f"/proc/{stub}/task").iterdir())
    for thread in threads:
        os.sched_setaffinity(thread, {0})
    ptrace = ctypes.CDLL(None, use_errno=True).ptrace
    for request in (PTRACE_SEIZE, PTRACE_INTERRUPT):
        assert ptrace(request, threads[1], None, None) == 0, os.strerror(ctypes.get_errno())


def test_a_process_that_triton_gives_up_does_not_answer_the_next_batch(built: Built, tmp_path: Path) -> None:
    """Triton 24.10 takes what such a process says late for the next batch's answer, with status OK."""
    repository = tmp_path / "repository"
    publish(repository, [built.artefacts / "fp32"], "fp32")
    with LocalServer(repository, use_free_ports=True, work=tmp_path / "work") as server:
        with AlexNetClient(server.grpc_url, MODEL, timeout=PATIENCE) as client:
            right = client.embed(PICTURES)
        wrong, answers, done = [], [], threading.Event()

        def ask(seed: int) -> None:
            places = np.random.default_rng(seed)
            with AlexNetClient(server.grpc_url, MODEL, timeout=PATIENCE, retry=Retry(attempts=1)) as client:
                while not done.is_set():
                    first = int(places.integers(0, len(PICTURES) - IMAGES))
                    try:
                        got = client.embed(PICTURES[first : first + IMAGES])
                    except AlexNetError:
                        done.wait(0.1)
                        continue
                    answers.append(first)
                    if not np.array_equal(got, right[first : first + IMAGES]):
                        wrong.append(first)

        def all_are_others(before: set[int]) -> bool:
            return server.pid is not None and not before & processes.stubs(server.pid).keys()

        with ThreadPoolExecutor(16) as pool:
            for seed in range(16):
                pool.submit(ask, seed)
            try:
                before = set(processes.stubs(server.pid))
                for stub in before:
                    starve(stub)
                wait_until(lambda: all_are_others(before), "another server")
                given = len(answers)
                wait_until(lambda: len(answers) > given + 20, "answers")
            finally:
                done.set()
        assert not wrong
