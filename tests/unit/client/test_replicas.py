"""Several servers as one: in turn, without those that are gone or say that they do not serve, and back when they do."""

from __future__ import annotations

import threading
import time
from concurrent.futures import ThreadPoolExecutor

import grpc
import numpy as np
import pytest

from alexnet_client import DeadlineExceeded, Retry, Unavailable
from alexnet_client.contract import IMAGE
from tests.blocking import Make
from tests.fake_triton import FakeTriton, Scripted
from tests.waiting import wait_until

PICTURE = np.zeros(IMAGE.shape, np.uint8)
MODEL = "alexnet_int8"


def asked(server: FakeTriton) -> int:
    return server.calls["ModelInfer"]


def test_requests_go_to_each_in_turn(make: Make) -> None:
    with FakeTriton() as one, FakeTriton() as other, make([one.url, other.url], MODEL) as client:
        for _ in range(40):
            client.embed(PICTURE)
        wait_until(lambda: client.embed(PICTURE) is not None and min(asked(one), asked(other)) > 20, "both to be asked")


def test_one_that_goes_costs_no_call_and_one_that_comes_back_is_asked_again(make: Make) -> None:
    """Under load from eight threads."""
    failed: list[Exception] = []
    done = threading.Event()
    with FakeTriton() as stays, make([stays.url, "127.0.0.1:1"], MODEL) as client:
        client.embed(PICTURE)  # the other was never there
    with FakeTriton() as stays, FakeTriton() as goes, make([stays.url, goes.url], MODEL, timeout=30) as client:

        def ask() -> None:
            while not done.is_set():
                try:
                    client.embed(PICTURE)
                except Exception as error:
                    failed.append(error)

        with ThreadPoolExecutor(8) as pool:
            for _ in range(8):
                pool.submit(ask)
            wait_until(lambda: asked(goes) > 20, "the one that goes to be asked")
            goes.__exit__()
            before = asked(stays)
            wait_until(lambda: asked(stays) > before + 50, "the other to be asked")
            with FakeTriton(url=goes.url) as back:
                wait_until(lambda: asked(back) > 20, "the one that is back to be asked")
                done.set()
    assert not failed


def test_one_that_hangs_is_hedged(make: Make) -> None:
    """Its calls are answered by the other; without a hedge they end with their deadline."""
    with FakeTriton() as hangs, FakeTriton() as well:
        hangs.script(then=Scripted(seconds=30))
        with make([hangs.url, well.url], MODEL, timeout=20, retry=Retry(hedge=0.05)) as client:
            started = time.monotonic()
            for _ in range(20):
                client.embed(PICTURE)
            assert time.monotonic() - started < 15
        with make(hangs.url, MODEL, timeout=0.3) as client:
            started = time.monotonic()
            with pytest.raises(DeadlineExceeded):
                client.embed(PICTURE)
            assert time.monotonic() - started < 3


def test_a_single_server_that_comes_back_is_found_again(make: Make) -> None:
    with FakeTriton() as first, make(first.url, MODEL, retry=Retry(attempts=1)) as client:
        client.embed(PICTURE)
        first.__exit__()
        with pytest.raises(Unavailable):
            client.embed(PICTURE)
        with FakeTriton(url=first.url) as again:

            def answers() -> bool:
                try:
                    client.embed(PICTURE)
                except Unavailable:
                    return False
                return True

            wait_until(answers, "the connection to be there again")
            assert asked(again)


def test_a_full_server_is_waited_for(make: Make) -> None:
    """Overloaded twice, and then not: the caller sees an answer, the server three requests, with a pause."""
    with FakeTriton() as server, make(server.url, MODEL, retry=Retry(backoff=0.2)) as client:
        server.script(*[Scripted(grpc.StatusCode.UNAVAILABLE, "Exceeds maximum queue size")] * 2)
        assert client.embed(PICTURE).shape == (1, 4096)
        assert asked(server) == 3
        first, second, third = server.requests
        assert first.id == second.id == third.id
        assert third.parameters["timeout"].int64_param < first.parameters["timeout"].int64_param
