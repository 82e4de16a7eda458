"""What strangers send, and how."""

from __future__ import annotations

import io
import threading
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from functools import cache
from itertools import cycle

import grpc
from PIL import Image
from tritonclient.grpc.service_pb2 import ModelInferRequest

from alexnet_client import TLS
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


@contextmanager
def trickling(url: str, message: bytes, streams: int, tls: TLS | None = None) -> Iterator[None]:
    """While the block runs, so many requests of one caller are begun and not ended, and begun again when refused."""
    done = threading.Event()

    def body() -> Iterator[bytes]:
        yield message
        done.wait()

    def hold(channel: grpc.Channel) -> None:
        infer = channel.stream_unary(INFER)
        while not done.is_set():
            with suppress(grpc.RpcError, ValueError):  # refused, or closed
                infer(body())

    with _connection(url, tls) as channel:
        threads = [threading.Thread(target=hold, args=(channel,), daemon=True) for _ in range(streams)]
        for thread in threads:
            thread.start()
        try:
            yield
        finally:
            channel.close()  # so that they do not all end now
            done.set()
            for thread in threads:
                thread.join()


@contextmanager
def hurrying(url: str, message: bytes, deadline: float, rate: float, tls: TLS | None = None) -> Iterator[None]:
    """While the block runs, one caller asks so many times a second and hangs up after ``deadline`` seconds."""
    done = threading.Event()

    def ask() -> None:
        with _connection(url, tls) as channel:
            infer = channel.unary_unary(INFER)
            while not done.wait(1 / rate):
                infer.future(message, timeout=deadline)

    thread = threading.Thread(target=ask)
    thread.start()
    try:
        yield
    finally:
        done.set()
        thread.join()


def _connection(url: str, tls: TLS | None) -> grpc.Channel:
    options: list[tuple[str, object]] = [("grpc.use_local_subchannel_pool", 1)]
    if tls is None:
        return grpc.insecure_channel(url, options)
    if tls.server_name:
        options.append(("grpc.ssl_target_name_override", tls.server_name))
    return grpc.secure_channel(url, tls.credentials(), options)
