"""LoadGen's system under test (its SUT): a served model, asked over gRPC with the messages that the client sends."""

from __future__ import annotations

import threading
from collections import Counter
from collections.abc import Callable, Sequence
from types import TracebackType
from typing import Any, Protocol, Self

import grpc
import numpy as np
from numpy.typing import NDArray
from tritonclient.grpc.service_pb2 import ModelInferResponse

from alexnet_client import InvalidImage
from alexnet_client._channel import connect
from alexnet_client._errors import ANOTHERS
from alexnet_client._options import Options
from alexnet_client._request import requests
from alexnet_client._results import belongs_to, tensor
from alexnet_client.checksum import Expected
from alexnet_client.contract import PROBABILITIES
from deploy.loadtest.loadgen.samples import SampleLibrary
from deploy.loadtest.workload import OUTPUTS
from deploy.serve.envoy import INFER

#: Seconds for an answer; LoadGen waits for every one for ever.
PATIENCE = 60.0


class Query(Protocol):
    """A sample that LoadGen asks for, its own ``QuerySample``: a number to answer under, and which image."""

    id: int
    index: int


#: Ids of samples, and the class of each as ``int32[N]``: None where nobody looks, or there is none.
Completed = Callable[[Sequence[int], NDArray[np.int32] | None], None]


class SystemUnderTest:
    """Sends what LoadGen asks for, as many samples a request as the client sends, and tells when it is answered."""

    def __init__(
        self, server: Options, samples: SampleLibrary, completed: Completed, *, classes: bool, in_flight: int
    ) -> None:
        """Connect.

        Args:
            completed: told every sample once, in any thread, be it answered or not.
            classes: read the most probable class of each answer.
            in_flight: requests under way; :meth:`issue` waits when there are as many.
        """
        self._model = server.model
        self._samples = samples
        self._completed = completed
        self._classes = classes
        self._outputs = OUTPUTS["probabilities" if classes else "embed"]
        self._room = threading.Semaphore(in_flight)
        self._lock = threading.Lock()
        self._channel = connect(server, server.tls.credentials() if server.tls else None, grpc)
        self._infer = self._channel.unary_unary(INFER)
        #: What requests failed of, and how many samples. LoadGen knows no failure: to it every completion is an answer.
        self.failures: Counter[str] = Counter()
        #: Versions of the model that answered, where classes are read.
        self.versions: set[str] = set()

    def issue(self, query: Sequence[Query]) -> None:
        """Send the samples of a query."""
        images = [self._samples[sample.index] for sample in query]
        refused: dict[int, InvalidImage] = {}
        for request in requests(self._model, images, self._outputs, refused=refused):
            ids = [query[place].id for place in request.places]
            request.message.model_name = self._model
            message = request.encode()
            self._room.acquire()
            call = self._infer.future(message, timeout=PATIENCE)
            call.add_done_callback(lambda call, ids=ids, expected=request.expected: self._ended(call, ids, expected))
        for place, error in refused.items():
            self._fail(f"{type(error).__name__}: {error}", 1)
            self._completed([query[place].id], None)

    def flush(self) -> None:
        """Nothing is held back."""

    def _ended(self, call: Any, ids: Sequence[int], expected: Expected) -> None:
        """Whatever happens, LoadGen is told, or it waits for ever."""
        classes = None
        try:
            if call.code() is not grpc.StatusCode.OK:
                self._fail(f"{call.code().name}: {call.details()}", len(ids))
                return
            answer = ModelInferResponse.FromString(call.result())
            if not belongs_to(answer, expected, len(ids)):
                self._fail(ANOTHERS, len(ids))
            elif self._classes:
                classes = self._read(answer)
        except Exception as error:
            self._fail(f"{type(error).__name__}: {error}", len(ids))
        finally:
            self._room.release()
            self._completed(ids, classes)

    def _read(self, response: ModelInferResponse) -> NDArray[np.int32]:
        probabilities = tensor(response, PROBABILITIES)
        with self._lock:
            self.versions.add(response.model_version)
        classes: NDArray[np.int32] = probabilities.argmax(1).astype(np.int32)
        return classes

    def _fail(self, why: str, count: int) -> None:
        with self._lock:
            self.failures[why] += count

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._channel.close()
