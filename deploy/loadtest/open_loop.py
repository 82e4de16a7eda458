"""An open loop: requests come when they come, whether or not earlier ones are answered, as from the world outside.

A closed loop (``perf_analyzer``'s callers, each waiting for its answer) slows down with the server and so never
overloads it. Latency counts from when a request was due, not from when the generator got round to it (Tene's
"coordinated omission").
"""

from __future__ import annotations

import threading
import time
from collections import Counter
from contextlib import suppress
from dataclasses import dataclass
from typing import Any

import grpc
import numpy as np
from numpy.typing import NDArray
from tritonclient.grpc.service_pb2 import ModelInferResponse

from alexnet_client import TLS, ServerError
from alexnet_client._channel import connect
from alexnet_client._options import Options
from alexnet_client._results import belongs_to
from alexnet_client.contract import OVERLOAD_SIGNS
from deploy.loadtest.apart import apart
from deploy.loadtest.server_time import ModelTime
from deploy.loadtest.workload import Workload
from deploy.serve.envoy import INFER

#: Of a request that was answered, by name; a refusal of what has to be refused counts as an answer.
OK, MISMATCH = "OK", "MISMATCH"
#: Seconds that processes are given to start before the first request is due.
HEAD_START = 2.0


@dataclass(frozen=True)
class Outcome:
    """What became of each request, in the order in which they were due."""

    #: Seconds from the start.
    due: NDArray[np.float64]
    #: Seconds that it left late, and that it took from when it was due.
    lag: NDArray[np.float64]
    latency: NDArray[np.float64]
    #: Name of the gRPC status; ``OVERLOADED`` where the server said that it is, ``MISMATCH`` of another's answer.
    status: NDArray[np.str_]
    #: Images a request.
    batch: int
    #: Of the generator: processes, and cores that the busiest used.
    processes: int
    cores: float
    #: What the server counted meanwhile; None where nobody looked.
    server: tuple[ModelTime, ...] | None = None

    @property
    def seconds(self) -> float:
        """From the start until the last was due."""
        return float(self.due[-1]) if len(self.due) else 0.0

    @property
    def statuses(self) -> Counter[str]:
        """Status -> requests."""
        return Counter(map(str, self.status))

    @property
    def answered(self) -> NDArray[np.bool_]:
        """Which were."""
        return np.equal(self.status, OK)

    @property
    def offered(self) -> float:
        """Requests a second that were due."""
        return len(self.due) / self.seconds if self.seconds else 0.0

    @property
    def throughput(self) -> float:
        """Requests a second that were answered, however late."""
        return float(self.answered.sum()) / self.seconds if self.seconds else 0.0

    def goodput(self, within: float) -> float:
        """Requests a second that were answered within so many seconds of when they were due."""
        return float((self.answered & (self.latency <= within)).sum()) / self.seconds if self.seconds else 0.0

    def percentile(self, percent: float) -> float:
        """Seconds, of those that were answered; infinite if none was."""
        return float(np.percentile(self.latency[self.answered], percent)) if self.answered.any() else float("inf")


def offer(
    url: str,
    workload: Workload,
    due: NDArray[np.float64],
    deadline: float,
    *,
    processes: int = 1,
    seed: int = 0,
    tls: TLS | None = None,
) -> Outcome:
    """Send a request at each of those times.

    Args:
        url: ``host:port``; of ``dns:///name:port`` all addresses in turn.
        due: seconds from the start, ascending.
        deadline: seconds that each may take from when it was due.
        processes: that share the requests; one sends some thousands a second.
        tls: who the server must be; None is plain text.
    """
    server = Options(url, workload.model, timeout=None, tls=tls)
    order = workload.order(len(due), seed)
    parts = [slice(number, None, processes) for number in range(processes)]
    if processes == 1:
        told = [_send(server, workload, order, due, deadline, time.monotonic())]
    else:
        start = time.monotonic() + HEAD_START
        told = apart(_send, [(server, workload, order[part], due[part], deadline, start) for part in parts])
    lag, latency = np.empty(len(due)), np.empty(len(due))
    status = np.empty(len(due), dtype="U24")
    for part, (its_lag, its_latency, its_status, _) in zip(parts, told, strict=True):
        lag[part], latency[part], status[part] = its_lag, its_latency, its_status
    status[workload.is_bad(order) & (status == grpc.StatusCode.INVALID_ARGUMENT.name)] = OK
    return Outcome(due, lag, latency, status, workload.batch, processes, max(cores for *_, cores in told))


def _send(
    server: Options,
    workload: Workload,
    order: NDArray[np.intp],
    due: NDArray[np.float64],
    deadline: float,
    start: float,
) -> tuple[NDArray[np.float64], NDArray[np.float64], list[str], float]:
    """One process's share; times on the monotonic clock, which all processes of a machine have in common."""
    lag, latency, status = np.zeros(len(due)), np.zeros(len(due)), ["" for _ in due]
    missing = threading.Semaphore(0)
    credentials = server.tls.credentials() if server.tls else None
    with connect(server, credentials, grpc) as channel:
        infer = channel.unary_unary(INFER)
        with suppress(grpc.RpcError):  # it connects; what the server says of requests is counted below
            infer(workload.messages[0], timeout=60)
        start = max(start, time.monotonic())
        before = time.process_time()

        def ended(call: Any, number: int) -> None:
            latency[number] = time.monotonic() - start - due[number]
            status[number] = _status(call)
            if status[number] == OK and not _belongs(call.result(), workload, int(order[number])):
                status[number] = MISMATCH
            missing.release()

        for number, at in enumerate(due):
            wait = at - (time.monotonic() - start)
            if wait > 0:
                time.sleep(wait)
            late = time.monotonic() - start - at
            lag[number] = late
            call = infer.future(workload.messages[order[number]], timeout=max(0.001, deadline - late))
            call.add_done_callback(lambda call, number=number: ended(call, number))
        for _ in due:
            missing.acquire()
        spent = (time.process_time() - before) / max(time.monotonic() - start, 1e-9)
    return lag, latency, status, spent


def _belongs(answer: bytes, workload: Workload, message: int) -> bool:
    """Whether an answer is to the message that it came for."""
    try:
        return belongs_to(ModelInferResponse.FromString(answer), workload.expected[message], workload.batch)
    except ServerError:  # it carries no checksum
        return False


def _status(call: Any) -> str:
    if call.code() is grpc.StatusCode.OK:
        return OK
    if any(sign in (call.details() or "") for sign in OVERLOAD_SIGNS):
        return "OVERLOADED"
    return str(call.code().name)
