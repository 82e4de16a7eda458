"""What strangers send."""

from __future__ import annotations

import io
import time
from collections.abc import Sequence
from contextlib import suppress
from functools import cache
from itertools import cycle

import grpc
from PIL import Image
from tritonclient.grpc.service_pb2 import ModelInferRequest

from alexnet_client.contract import Tensor
from deploy.serve.envoy import INFER


def request(model: str, tensor: Tensor, shape: Sequence[int], raw: bytes) -> bytes:
    """A serialised ``ModelInferRequest``, sound or not."""
    message = ModelInferRequest(model_name=model)
    message.inputs.add(name=tensor.name, datatype=tensor.dtype, shape=shape)
    message.raw_input_contents.append(raw)
    return bytes(message.SerializeToString())


@cache
def large_image() -> bytes:
    """A WebP of 49 megapixels in some hundred bytes."""
    file = io.BytesIO()
    Image.new("RGB", (7000, 7000)).save(file, "WEBP", lossless=True)
    return file.getvalue()


def sending(url: str, messages: Sequence[bytes], seconds: float) -> None:
    """Send them one after the other, whatever is answered."""
    end = time.monotonic() + seconds
    with grpc.insecure_channel(url) as channel:
        infer = channel.unary_unary(INFER)
        for message in cycle(messages):
            if time.monotonic() > end:
                return
            with suppress(grpc.RpcError):
                infer(message, timeout=30)
