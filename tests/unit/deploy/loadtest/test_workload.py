"""Requests that are encoded beforehand are those that the client would send."""

from __future__ import annotations

import numpy as np
import pytest
from tritonclient.grpc.service_pb2 import ModelInferRequest

from alexnet_client import AlexNetClient
from alexnet_client._images import as_file
from alexnet_client.contract import IMAGE
from deploy.loadtest.loadtest_error import LoadTestError
from deploy.loadtest.workload import mixed, workload
from tests.fake_triton import FakeTriton

SHADES = [np.full(IMAGE.shape, shade, np.uint8) for shade in range(12)]


@pytest.mark.parametrize("model", ["alexnet", "alexnet_int8"])
def test_they_are_the_clients_own(model: str) -> None:
    with FakeTriton() as server, AlexNetClient(server.url, model) as client:
        client.embed(SHADES[:4])
        client.classify_and_embed(SHADES[:4])
        sent = server.requests
    made = [ModelInferRequest.FromString(workload(model, SHADES[:4], batch=4).messages[0])]
    made += [ModelInferRequest.FromString(workload(model, SHADES[:4], batch=4, outputs="classify").messages[0])]
    assert made[0].raw_input_contents == sent[0].raw_input_contents
    assert made[0].outputs == sent[0].outputs
    assert made[1].outputs[0] == sent[1].outputs[0]


def test_the_first_are_sent_more_often_and_the_bad_as_often_as_told() -> None:
    load = workload("alexnet", [as_file(shade) for shade in SHADES], bad=0.05, zipf=1.0)
    order = load.order(20_000)
    counts = np.bincount(order, minlength=13)
    assert counts[12] / 20_000 == pytest.approx(0.05, abs=0.01)
    assert counts[0] / counts[3] == pytest.approx(4, rel=0.2)
    assert (np.sort(counts[:12])[::-1][:4] == counts[:4]).all()
    even = np.bincount(workload("alexnet_int8", SHADES).order(12_000))
    assert even.min() > 800


def test_two_models_get_their_shares() -> None:
    files = [as_file(shade) for shade in SHADES]
    both = mixed(workload("alexnet", files, bad=0.1), workload("alexnet_int8", SHADES, zipf=1.0), 0.25)
    order = both.order(20_000)
    models = [ModelInferRequest.FromString(message).model_name for message in both.messages]
    asked = np.array(models)[order]
    assert (asked == "alexnet_int8").mean() == pytest.approx(0.25, abs=0.02)
    assert both.is_bad(order).mean() == pytest.approx(0.075, abs=0.01)
    assert (asked[both.is_bad(order)] == "alexnet").all()
    assert both.model == "alexnet+alexnet_int8"
    with pytest.raises(LoadTestError, match="the share of alexnet_int8 is 1"):
        mixed(both, workload("alexnet_int8", SHADES), 1.0)


def test_batches_are_whole() -> None:
    load = workload("alexnet_int8", SHADES, batch=5)
    assert (len(load.messages), load.batch) == (2, 5)
    assert ModelInferRequest.FromString(load.messages[1]).inputs[0].shape[0] == 5


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"batch": 13}, "got 12 images for requests of 13"),
        ({"outputs": "all"}, "want one of classify, embed, probabilities, both"),
        ({"bad": 1.0}, "bad is 1.0"),
        ({"bad": 0.1}, "alexnet_int8 is sent pixels"),
    ],
)
def test_what_cannot_be_made_is_said(options: dict, message: str) -> None:
    with pytest.raises(LoadTestError, match=message):
        workload("alexnet_int8", SHADES, **options)
