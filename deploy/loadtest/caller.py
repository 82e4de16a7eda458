"""What the client library costs whoever calls, beside the bare libraries that it stands on, at saturation.

``python -m deploy.loadtest caller``: processor time a request, in a process of its own for each kind of caller, and
the asynchronous client's throughput beside ``perf_analyzer``'s.
"""

from __future__ import annotations

import asyncio
import sys
import threading
import time
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from pathlib import Path
from statistics import median

import grpc
import numpy as np
from numpy.typing import NDArray
from tqdm import tqdm
from tritonclient.grpc import InferenceServerClient, InferInput, InferRequestedOutput
from tritonclient.grpc.service_pb2 import ModelInferRequest
from tritonclient.grpc.service_pb2_grpc import GRPCInferenceServiceStub

from alexnet_client import AlexNetClient, AsyncAlexNetClient
from alexnet_client.contract import EMBEDDING, IMAGE, precision_model
from deploy.loadtest.apart import apart
from deploy.loadtest.perf_analyzer import measure
from deploy.serve.server import LocalServer

MODEL = precision_model("int8")
CALLERS = 32
#: Seconds that a caller may wait, and before anything counts.
PATIENCE, WARM_UP = 60.0, 1.0
#: A request, and the embedding that it is answered with.
Ask = Callable[[NDArray[np.uint8]], NDArray[np.float32]]
AskLater = Callable[[NDArray[np.uint8]], Awaitable[NDArray[np.float32]]]


@dataclass(frozen=True)
class Cost:
    """Of one kind of caller."""

    #: Requests a second of all callers together.
    throughput: float
    #: Seconds of a core a request.
    cpu: float


def _tritonclient(url: str, callers: int, seconds: float) -> Cost:
    with InferenceServerClient(url) as client:

        def ask(image: NDArray[np.uint8]) -> NDArray[np.float32]:
            tensor = InferInput(IMAGE.name, [1, *IMAGE.shape], IMAGE.dtype)
            tensor.set_data_from_numpy(image[None])
            wanted = [InferRequestedOutput(EMBEDDING.name)]
            answer = client.infer(MODEL, [tensor], outputs=wanted, client_timeout=PATIENCE)
            vectors: NDArray[np.float32] = answer.as_numpy(EMBEDDING.name)
            return vectors

        return _threads(ask, callers, seconds)


def _client(url: str, callers: int, seconds: float) -> Cost:
    with AlexNetClient(url, MODEL, PATIENCE) as client:
        return _threads(client.embed, callers, seconds)


def _grpc_aio(url: str, callers: int, seconds: float) -> Cost:
    async def run() -> Cost:
        async with grpc.aio.insecure_channel(url) as channel:
            stub = GRPCInferenceServiceStub(channel)

            async def ask(image: NDArray[np.uint8]) -> NDArray[np.float32]:
                request = ModelInferRequest(model_name=MODEL, raw_input_contents=[image.tobytes()])
                request.inputs.add(name=IMAGE.name, datatype=IMAGE.dtype, shape=[1, *IMAGE.shape])
                request.outputs.add(name=EMBEDDING.name)
                answer = await stub.ModelInfer(request, timeout=PATIENCE)
                return np.frombuffer(answer.raw_output_contents[0], np.float32).reshape(1, *EMBEDDING.shape)

            return await _tasks(ask, callers, seconds)

    return asyncio.run(run())


def _async_client(url: str, callers: int, seconds: float) -> Cost:
    async def run() -> Cost:
        async with AsyncAlexNetClient(url, MODEL, PATIENCE) as client:
            return await _tasks(client.embed, callers, seconds)

    return asyncio.run(run())


#: A kind of caller, and the bare one that it is held against.
KINDS: dict[str, tuple[Callable[[str, int, float], Cost], str | None]] = {
    "tritonclient": (_tritonclient, None),
    "AlexNetClient": (_client, "tritonclient"),
    "grpc.aio": (_grpc_aio, None),
    "AsyncAlexNetClient": (_async_client, "grpc.aio"),
}


def _image() -> NDArray[np.uint8]:
    return np.random.default_rng(0).integers(0, 256, IMAGE.shape, np.uint8)


def _threads(ask: Ask, callers: int, seconds: float) -> Cost:
    image, counts, errors = _image(), [0] * callers, list[BaseException]()

    def work(number: int, end: float) -> None:
        try:
            while time.perf_counter() < end:
                assert ask(image).shape == (1, *EMBEDDING.shape)
                counts[number] += 1
        except Exception as error:
            errors.append(error)

    def run(seconds: float) -> None:
        end = time.perf_counter() + seconds
        threads = [threading.Thread(target=work, args=(number, end)) for number in range(callers)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        if errors:
            raise errors[0]

    run(WARM_UP)
    done, started, cpu = sum(counts), time.perf_counter(), time.process_time()
    run(seconds)
    done = sum(counts) - done
    return Cost(done / (time.perf_counter() - started), (time.process_time() - cpu) / done)


async def _tasks(ask: AskLater, callers: int, seconds: float) -> Cost:
    image = _image()

    async def work(end: float) -> int:
        count = 0
        while time.perf_counter() < end:
            assert (await ask(image)).shape == (1, *EMBEDDING.shape)
            count += 1
        return count

    async def run(seconds: float) -> int:
        end = time.perf_counter() + seconds
        return sum(await asyncio.gather(*(work(end) for _ in range(callers))))

    await run(WARM_UP)
    started, cpu = time.perf_counter(), time.process_time()
    done = await run(seconds)
    return Cost(done / (time.perf_counter() - started), (time.process_time() - cpu) / done)


@dataclass(frozen=True)
class Costs:
    """Medians over the rounds."""

    callers: int
    kinds: dict[str, Cost]
    #: Of each kind's processor time a request in the bare library's, within a round.
    ratios: dict[str, float]
    #: ``perf_analyzer``'s requests a second, and the asynchronous client's share of them, within a round.
    perf_analyzer: float
    share: float


def measure_callers(repository: Path, rounds: int, seconds: float) -> Costs:
    """Measure each kind of caller on a server of a published repository, once a round.

    Raises:
        alexnet_client.AlexNetError: the server does not start or answer, or there is no ``perf_analyzer``.
    """
    seen: list[dict[str, Cost]] = []
    others: list[float] = []
    with (
        LocalServer(repository, use_free_ports=True) as server,
        tqdm(total=rounds * (len(KINDS) + 1), desc="callers", unit="point", file=sys.stderr) as bar,
    ):
        for _ in range(rounds):
            seen.append({})
            for name in KINDS:
                seen[-1][name] = _in_a_process(name, server.grpc_url, seconds)
                bar.update()
            speed = seen[-1]["AsyncAlexNetClient"].throughput
            others.append(measure(server.grpc_url, MODEL, CALLERS, seconds, speed=speed).images_per_second)
            bar.update()
    return Costs(
        CALLERS,
        {
            name: Cost(median(each[name].throughput for each in seen), median(each[name].cpu for each in seen))
            for name in KINDS
        },
        {name: median(each[name].cpu / each[bare].cpu for each in seen) for name, (_, bare) in KINDS.items() if bare},
        median(others),
        median(each["AsyncAlexNetClient"].throughput / other for each, other in zip(seen, others, strict=True)),
    )


def _in_a_process(name: str, url: str, seconds: float) -> Cost:
    """So that the processor time is the caller's alone."""
    return apart(_measure_one, [(name, url, seconds)])[0]


def _measure_one(name: str, url: str, seconds: float) -> Cost:
    return KINDS[name][0](url, CALLERS, seconds)


def as_table(costs: Costs) -> str:
    """Every kind of caller, in Markdown."""
    lines = [
        f"| {costs.callers} callers of `{MODEL}` | request/s | ms of a core a request | of the bare library's |",
        "| --- | --- | --- | --- |",
    ]
    for name, cost in costs.kinds.items():
        ratio = f"{costs.ratios[name]:.2f}" if name in costs.ratios else ""
        lines.append(f"| `{name}` | {cost.throughput:.1f} | {1000 * cost.cpu:.2f} | {ratio} |")
    lines += [
        f"| `perf_analyzer` | {costs.perf_analyzer:.1f} | | |",
        "",
        f"AsyncAlexNetClient reaches {costs.share:.2f} of perf_analyzer's throughput",
    ]
    return "\n".join(lines)
