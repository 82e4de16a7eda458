"""Whether a server is well, by what it says and by what it does."""

from __future__ import annotations

import time

import grpc
import pytest

from alexnet_client import TensorMetadata, Unavailable, UnknownModel
from alexnet_client.contract import IMAGE, NETWORK_OUTPUTS
from tests.blocking import Make
from tests.fake_triton import FakeTriton, Scripted

PIXELS = "alexnet_int8"
UNAVAILABLE = grpc.StatusCode.UNAVAILABLE


def test_health_names_server_and_models(make: Make) -> None:
    with FakeTriton(models=("alexnet_int8", "alexnet")) as server, make(server.url) as client:
        health = client.health()
    assert (health.live, health.ready, health.server) == (True, True, "triton")
    assert health.models == ("alexnet_int8", "alexnet")
    with make("127.0.0.1:1") as client, pytest.raises(Unavailable):
        client.health()


def test_health_by_inference_finds_the_model_that_is_dead(make: Make) -> None:
    """Whose flag says that it is ready."""

    def int8_is_dead(request) -> Scripted:
        dead = Scripted(grpc.StatusCode.INTERNAL, "Stub process 'alexnet_int8_0_0' is not healthy.")
        return dead if request.model_name == "alexnet_int8" else Scripted()

    with FakeTriton(models=("alexnet_int8", "alexnet_fp32", "alexnet")) as server, make(server.url) as client:
        health = client.health(infer=True)
        assert health.ok
        assert health.answered == health.models == ("alexnet_fp32", "alexnet_int8", "alexnet")
        server.script(then=int8_is_dead)
        health = client.health(infer=True)
        assert (health.ready, health.ok, health.answered) == (True, False, ("alexnet_fp32", "alexnet"))
        assert client.health().ok  # nobody was asked
        server.script(then=Scripted(UNAVAILABLE, "Exceeds maximum queue size"))
        assert client.health(infer=True).ok  # full is not dead


def test_models_and_tensors_are_the_servers_own(make: Make, server: FakeTriton) -> None:
    with make(server.url, PIXELS) as client:
        assert {model.name: model.state for model in client.models()} == dict.fromkeys(server.models, "READY")
        metadata = client.metadata()
        assert metadata.inputs == (TensorMetadata(IMAGE.name, IMAGE.dtype, (-1, *IMAGE.shape)),)
        assert [tensor.name for tensor in metadata.outputs] == [tensor.name for tensor in NETWORK_OUTPUTS]
    with make(server.url, "alexnet_int4") as client, pytest.raises(UnknownModel):
        client.metadata()


def test_a_model_that_hangs_does_not_make_the_others_look_dead(make: Make) -> None:
    def fp32_hangs(request) -> Scripted:
        return Scripted(seconds=30 if request.model_name == "alexnet_fp32" else 0)

    with FakeTriton(models=("alexnet_int8", "alexnet_fp32", "alexnet")) as server, make(server.url) as client:
        server.script(then=fp32_hangs)
        started = time.monotonic()
        assert client.health(infer=True, timeout=4).answered == ("alexnet_int8", "alexnet")
        assert time.monotonic() - started < 15
