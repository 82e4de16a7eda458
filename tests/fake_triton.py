"""A KServe v2 service in this process, over real gRPC, whose answers, codes and delays a test scripts.

What it is not told otherwise it answers as the real server would: the decoder's refusals word for word, Triton's
classification extension, and numbers that depend on the pixels alone, so that a test can tell whose answer it got.
"""

from __future__ import annotations

import mmap
import os
import threading
from collections import Counter, deque
from collections.abc import Callable, Iterable
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass
from functools import lru_cache
from typing import Any, Self

import grpc
import numpy as np
from numpy.typing import NDArray
from tritonclient.grpc import service_pb2
from tritonclient.grpc.service_pb2_grpc import GRPCInferenceServiceServicer, add_GRPCInferenceServiceServicer_to_server
from tritonclient.utils import deserialize_bytes_tensor, serialize_byte_tensor

from alexnet_client import refusal
from alexnet_client.checksum import checksum, file_checksum
from alexnet_client.contract import (
    CHECKSUM,
    EMBEDDING,
    ENCODED,
    ENSEMBLE,
    FILE_CHECKSUM,
    IMAGE,
    MAX_BATCH,
    MODELS,
    PROBABILITIES,
    SERVED_MODELS,
)
from alexnet_client.preprocess import decode
from alexnet_client.undecodable import UndecodableImage

LABELS = ("cat", "dog", "owl")
#: ``grpc.health.v1.HealthCheckResponse``.
SERVING = b"\x08\x01"
#: A test may send one file ten thousand times.
_decode = lru_cache(maxsize=256)(decode)


@dataclass(frozen=True)
class Scripted:
    """How one request is answered: a code other than OK aborts it, ``seconds`` pass first."""

    code: grpc.StatusCode = grpc.StatusCode.OK
    message: str = ""
    seconds: float = 0.0
    #: Metadata of an abort.
    marks: tuple[tuple[str, str], ...] = ()


def outputs(pixels: NDArray[np.uint8]) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
    """The fake network: probabilities ``[N, 3]`` and embedding ``[N, 4096]`` that tell images apart."""
    scores = pixels[:, ::8, ::8].mean((1, 2), dtype=np.float32) + np.float32(1)  # a colour a class
    embedding = pixels.reshape(len(pixels), -1)[:, : EMBEDDING.shape[0]].astype(np.float32)
    return scores / scores.sum(1, keepdims=True), embedding


class FakeTriton(GRPCInferenceServiceServicer):  # type: ignore[misc]
    """Listens on a free loopback port while the ``with`` block runs."""

    def __init__(
        self,
        models: Iterable[str] = SERVED_MODELS,
        workers: int = 128,
        credentials: grpc.ServerCredentials | None = None,
        url: str = "127.0.0.1:0",
    ) -> None:
        self.models = set(models)
        #: Of all models.
        self.version = "1"
        #: Every request that arrived, in order.
        self.requests: list[service_pb2.ModelInferRequest] = []
        #: Metadata of each of them.
        self.metadata: list[dict[str, str]] = []
        #: Region -> what it maps; None lets nobody share memory.
        self.regions: dict[str, mmap.mmap] | None = None
        #: Every region that was offered; permissions of the files of those that were opened.
        self.offered: list[str] = []
        self.modes: list[int] = []
        #: Calls by method's name.
        self.calls: Counter[str] = Counter()
        #: Most inferences that were under way at once.
        self.peak = 0
        #: And those that are now.
        self.under_way = 0
        #: Whether each request is given the answer to the one before, as by a process that answers late.
        self.late = False
        self._last: Any = None
        self._script: deque[Scripted] = deque()
        self._always: Scripted | Callable[[Any], Scripted] = Scripted()
        self._lock = threading.Lock()
        self._closing = threading.Event()
        self._server = grpc.server(ThreadPoolExecutor(workers), options=[("grpc.max_receive_message_length", -1)])
        add_GRPCInferenceServiceServicer_to_server(self, self._server)
        server = self._server
        health = {"Check": grpc.unary_unary_rpc_method_handler(lambda *_: SERVING)}
        server.add_generic_rpc_handlers([grpc.method_handlers_generic_handler("grpc.health.v1.Health", health)])
        port = server.add_secure_port(url, credentials) if credentials else server.add_insecure_port(url)
        self.url = f"127.0.0.1:{port}"

    def script(self, *steps: Scripted, then: Scripted | Callable[[Any], Scripted] = Scripted()) -> None:
        """Answer the next inferences so, as they come, and ``then`` all others; or each as a function of it says."""
        with self._lock:
            self._script = deque(steps)
            self._always = then

    def __enter__(self) -> Self:
        self._server.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._closing.set()
        self._server.stop(None).wait()

    def ServerLive(self, request: Any, context: grpc.ServicerContext) -> Any:  # noqa: N802
        self.calls["ServerLive"] += 1
        return service_pb2.ServerLiveResponse(live=True)

    def ServerReady(self, request: Any, context: grpc.ServicerContext) -> Any:  # noqa: N802
        self.calls["ServerReady"] += 1
        return service_pb2.ServerReadyResponse(ready=True)

    def ModelReady(self, request: Any, context: grpc.ServicerContext) -> Any:  # noqa: N802
        self.calls["ModelReady"] += 1
        return service_pb2.ModelReadyResponse(ready=request.name in self.models)

    def ServerMetadata(self, request: Any, context: grpc.ServicerContext) -> Any:  # noqa: N802
        self.calls["ServerMetadata"] += 1
        return service_pb2.ServerMetadataResponse(name="triton", version="fake")

    def ModelMetadata(self, request: Any, context: grpc.ServicerContext) -> Any:  # noqa: N802
        self.calls["ModelMetadata"] += 1
        if request.name not in self.models:
            context.abort(grpc.StatusCode.NOT_FOUND, f"Request for unknown model: '{request.name}' is not found")
        answer = service_pb2.ModelMetadataResponse(name=request.name, versions=[self.version])
        for found, tensors in (
            (answer.inputs, MODELS[request.name].inputs),
            (answer.outputs, MODELS[request.name].outputs),
        ):
            for tensor in tensors:
                found.add(name=tensor.name, datatype=tensor.dtype, shape=(-1, *tensor.shape))
        return answer

    def RepositoryIndex(self, request: Any, context: grpc.ServicerContext) -> Any:  # noqa: N802
        self.calls["RepositoryIndex"] += 1
        answer = service_pb2.RepositoryIndexResponse()
        for model in sorted(self.models):
            answer.models.add(name=model, version="1", state="READY")
        return answer

    def SystemSharedMemoryRegister(self, request: Any, context: grpc.ServicerContext) -> Any:  # noqa: N802
        self.calls["SystemSharedMemoryRegister"] += 1
        self.offered.append(request.name)
        if self.regions is None:
            context.abort(grpc.StatusCode.PERMISSION_DENIED, "not for clients")
        file = os.open(f"/dev/shm{request.key}", os.O_RDONLY | os.O_NOFOLLOW)
        try:
            self.modes.append(os.fstat(file).st_mode & 0o777)
            self.regions[request.name] = mmap.mmap(file, request.byte_size, prot=mmap.PROT_READ)
        finally:
            os.close(file)
        return service_pb2.SystemSharedMemoryRegisterResponse()

    def SystemSharedMemoryUnregister(self, request: Any, context: grpc.ServicerContext) -> Any:  # noqa: N802
        self.calls["SystemSharedMemoryUnregister"] += 1
        assert self.regions is not None
        del self.regions[request.name]
        return service_pb2.SystemSharedMemoryUnregisterResponse()

    def ModelInfer(self, request: Any, context: grpc.ServicerContext) -> Any:  # noqa: N802
        with self._under_way():
            self.calls["ModelInfer"] += 1
            with self._lock:
                self.requests.append(request)
                self.metadata.append({key: str(value) for key, value in context.invocation_metadata()})
                step = self._script.popleft() if self._script else self._always
            if callable(step):
                step = step(request)
            if step.seconds:
                gone = threading.Event()
                if not context.add_callback(gone.set):  # over already
                    gone.set()
                _first_of(step.seconds, gone, self._closing)
            if step.code is not grpc.StatusCode.OK:
                context.set_trailing_metadata(step.marks)
                context.abort(step.code, step.message)
            if request.model_name not in self.models:
                unknown = f"Request for unknown model: '{request.model_name}' is not found"
                context.abort(grpc.StatusCode.UNAVAILABLE, unknown)
            parameters = request.inputs[0].parameters
            named = "shared_memory_region" in parameters
            name = parameters["shared_memory_region"].string_param if named else ""
            if name and name not in (self.regions or {}):
                context.abort(grpc.StatusCode.NOT_FOUND, f"Unable to find shared memory region: '{name}'")
            content = self._mapped(request, name) if name else request.raw_input_contents[0]
            pixels, files = _pixels(request, content, lambda why: context.abort(grpc.StatusCode.INVALID_ARGUMENT, why))
            answer = _answer(request, pixels, files, self.version)
            with self._lock:
                before, self._last = self._last, answer
            return before if self.late else answer

    def _mapped(self, request: Any, name: str) -> bytes:
        assert self.regions is not None
        assert not request.raw_input_contents
        parameters = request.inputs[0].parameters
        first, size = (parameters[f"shared_memory_{what}"].int64_param for what in ("offset", "byte_size"))
        return self.regions[name][first : first + size]

    @contextmanager
    def _under_way(self):  # type: ignore[no-untyped-def]
        with self._lock:
            self.under_way += 1
            self.peak = max(self.peak, self.under_way)
        try:
            yield
        finally:
            with self._lock:
                self.under_way -= 1


def _first_of(seconds: float, *events: threading.Event) -> None:
    """Wait so long, or until one of the events is set."""
    waited = 0.0
    while waited < seconds and not any(event.wait(0.005) for event in events):
        waited += 0.005 * len(events)


def _pixels(request: Any, data: bytes, refuse: Callable[[str], None]) -> tuple[NDArray[np.uint8], list[bytes]]:
    """Pixels, and the files that they come from."""
    if request.inputs[0].shape[0] > MAX_BATCH:
        refuse(f"inference request batch-size must be <= {MAX_BATCH} for '{request.model_name}'")
    if request.model_name != ENSEMBLE:
        return np.frombuffer(data, np.uint8).reshape(tuple(request.inputs[0].shape)), []
    assert request.inputs[0].name == ENCODED.name
    images, bad = [], {}
    files = [bytes(file) for file in deserialize_bytes_tensor(data)]
    for place, file in enumerate(files):
        try:
            images.append(_decode(file))
        except UndecodableImage as error:
            bad[place] = str(error)
    if bad:
        refuse(f"in ensemble '{ENSEMBLE}', {refusal.message(bad)}")
    return np.stack(images), files


def _answer(request: Any, pixels: NDArray[np.uint8], files: list[bytes], version: str) -> Any:
    assert pixels.shape[1:] == IMAGE.shape
    answer = service_pb2.ModelInferResponse(model_name=request.model_name, model_version=version, id=request.id)
    values: dict[str, NDArray[Any]] = dict(zip((PROBABILITIES.name, EMBEDDING.name), outputs(pixels), strict=True))
    values[CHECKSUM.name] = checksum(pixels)
    if files:
        values[FILE_CHECKSUM.name] = file_checksum(files, pixels)
    for wanted in request.outputs:
        array: NDArray[Any] = values[wanted.name]
        top = wanted.parameters["classification"].int64_param if "classification" in wanted.parameters else 0
        if top:
            order = np.argsort(-array, axis=1, kind="stable")[:, :top]
            rows = [
                [f"{row[i]:.6f}:{i}:{LABELS[i]}".encode() for i in best] for row, best in zip(array, order, strict=True)
            ]
            array = np.array(rows, dtype=object)
        dtype = "BYTES" if top else "UINT32" if wanted.name == FILE_CHECKSUM.name else "FP32"
        tensor = answer.outputs.add(name=wanted.name, datatype=dtype, shape=list(array.shape))
        assert tensor.name
        answer.raw_output_contents.append(serialize_byte_tensor(array).item() if top else array.tobytes())
    return answer
