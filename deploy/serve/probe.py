"""Questions to a running server: is a model loaded, and does it answer with a real inference.

``python -m deploy.serve.probe`` is readiness as a command, for containers and scripts: every model that is served
answers a real inference. With ``--live`` it asks for a sign of life only. Under TLS it reads the client's own
variables, ``ALEXNET_TLS_CA`` and so on.
"""

from __future__ import annotations

import argparse
import secrets
import sys
import time
from collections.abc import Callable
from contextlib import suppress
from typing import Any

import numpy as np
from tritonclient.grpc import InferenceServerClient, InferInput, InferRequestedOutput, InferResult
from tritonclient.utils import InferenceServerException

from alexnet_client import TLS
from alexnet_client.checksum import Expected
from alexnet_client.chequers import chequers, chequers_file
from alexnet_client.command import run
from alexnet_client.contract import CHANNELS, CHECKSUM, FILE_CHECKSUM, MODELS, OVERLOAD_SIGNS, PROBE_ID
from alexnet_client.errors import AlexNetError
from deploy.serve.ports import HOST, Ports

#: Seconds in which a server that is ready has answered every question.
TIMEOUT = 2.0


class NotReady(AlexNetError):
    """A server that does not answer as it should."""


class Probe:
    """A connection to one server."""

    def __init__(self, url: str, tls: TLS | None = None) -> None:
        """Name it.

        Args:
            url: ``host:port``, or ``unix:PATH``.
            tls: who it must be; None is plain text.

        Raises:
            FileError, alexnet_client.InvalidRequest: a file of ``tls`` cannot be used.
        """
        name = [("grpc.ssl_target_name_override", tls.server_name)] if tls and tls.server_name else None
        self._client = InferenceServerClient(url, creds=tls.credentials() if tls else None, channel_args=name)

    def live(self, timeout: float = 1.0) -> bool:
        """Whether the server answers at all."""
        try:
            return bool(self._client.is_server_live(client_timeout=timeout))
        except InferenceServerException:
            return False

    def ready(self, timeout: float = 1.0) -> bool:
        """Whether the server says that it is ready; of one that is being mended, the door says that it is not.

        Raises:
            InferenceServerException: it does not answer, or says why.
        """
        return bool(self._client.is_server_ready(client_timeout=timeout))

    def states(self, timeout: float = 5.0) -> dict[str, tuple[str, str]]:
        """Model -> state (READY, UNAVAILABLE, LOADING...) and reason, of its newest version."""
        index = self._client.get_model_repository_index(client_timeout=timeout)
        newest = sorted(index.models, key=lambda entry: int(entry.version or 0))
        return {entry.name: (entry.state, entry.reason) for entry in newest}

    def infer(self, model: str, timeout: float = 5.0) -> None:
        """One real inference. Full is not dead: a refusal for want of room is an answer.

        Raises:
            InferenceServerException: the model does not answer, or answers another request.
        """
        question = _Question(model)
        try:
            answer = self._client.infer(**question.arguments, client_timeout=timeout)
        except InferenceServerException as error:
            if not any(sign in error.message() for sign in OVERLOAD_SIGNS):
                raise
            return
        if not question.answered_by(answer):
            raise InferenceServerException(f"{model} answers another request")

    def ask(self, model: str, heard: Callable[[bool | None], None], timeout: float) -> None:
        """One real inference that is not waited for.

        Args:
            heard: called, in a thread of gRPC's, when there is an answer: with whether it is to this question, or None
                of a refusal.
            timeout: seconds after which that there was none counts as one.
        """
        question = _Question(model)
        self._client.async_infer(
            **question.arguments,
            callback=lambda result, error: heard(None if error else question.answered_by(result)),
            client_timeout=timeout,
        )

    def answers(self, model: str) -> bool:
        """Whether :meth:`infer` succeeds."""
        try:
            self.infer(model)
        except InferenceServerException:
            return False
        return True

    def close(self) -> None:
        """Close the connection."""
        self._client.close()


class _Question:
    """An image that nobody else asks for, to a model."""

    def __init__(self, model: str) -> None:
        """Draw its colour."""
        colour = np.frombuffer(secrets.token_bytes(CHANNELS), np.uint8)
        self._model = MODELS[model]
        (wanted,) = self._model.inputs
        tensor = InferInput(wanted.name, [1, *wanted.shape], wanted.dtype)
        if self._model.takes_files:
            file = chequers_file(colour)
            self._expected = Expected.of_files([file])
            tensor.set_data_from_numpy(np.array([[file]], dtype=object))
        else:
            pixels = chequers(colour)[None]
            self._expected = Expected.of_pixels(pixels)
            tensor.set_data_from_numpy(pixels)
        self._checksums = [output for output in (CHECKSUM, FILE_CHECKSUM) if output in self._model.outputs]
        #: Of ``InferenceServerClient.infer``.
        self.arguments: dict[str, Any] = {
            "model_name": model,
            "inputs": [tensor],
            "outputs": [InferRequestedOutput(output.name) for output in (self._model.outputs[0], *self._checksums)],
            "request_id": PROBE_ID,
        }

    def answered_by(self, answer: InferResult) -> bool:
        """Whether an answer is to this question; a decoder's is held against the file alone."""
        decoded = answer.as_numpy(FILE_CHECKSUM.name) if FILE_CHECKSUM in self._checksums else None
        sums = answer.as_numpy(CHECKSUM.name) if CHECKSUM in self._checksums else None
        if sums is None and decoded is not None:
            sums = decoded[:, 1:]
        return sums is not None and self._expected.met_by(sums, decoded)


def check(url: str, timeout: float, *, live: bool = False, tls: TLS | None = None) -> tuple[str, ...]:
    """Return the models that answered, all within ``timeout`` seconds.

    Args:
        live: do not ask the models.
        tls: who the server must be; None is plain text.

    Raises:
        NotReady: the server, or a model that it has loaded, does not answer, or none is loaded.
    """
    deadline = time.monotonic() + timeout

    def left() -> float:
        return max(0.001, deadline - time.monotonic())

    probe = Probe(url, tls)
    try:
        if not probe.live(timeout):
            raise NotReady(f"no server answers at {url} within {timeout:g} s")
        if live:
            return ()
        if not probe.ready(left()):
            raise NotReady(f"the server at {url} says that it is not ready")
        models = tuple(name for name, (state, _) in probe.states(left()).items() if state == "READY" and name in MODELS)
        if not models:
            raise NotReady(f"the server at {url} has no model that is ready")
        for model in models:
            probe.infer(model, left())
    except InferenceServerException as error:
        raise NotReady(f"the server at {url} does not answer as it should: {error.message()}") from error
    finally:
        probe.close()
    return models


def wait_until_ready(url: str, seconds: float, tls: TLS | None = None) -> None:
    """Return once :func:`check` finds all well; it is asked once a second.

    Raises:
        NotReady: as :func:`check`, after so many seconds still.
    """
    deadline = time.monotonic() + seconds
    while time.monotonic() < deadline:
        with suppress(NotReady):
            check(url, TIMEOUT, tls=tls)
            return
        time.sleep(1)
    check(url, TIMEOUT, tls=tls)


def main(arguments: list[str] | None = None) -> int:
    """Ask; returns the exit status: 0 when all is well, 1 with one line on standard error when it is not."""
    parser = argparse.ArgumentParser(prog="python -m deploy.serve.probe", description=main.__doc__)
    parser.add_argument("--url", default=f"{HOST}:{Ports().grpc}", help="host:port of the gRPC endpoint (%(default)s)")
    parser.add_argument("--timeout", type=float, default=TIMEOUT, help="seconds, for all questions (%(default)s)")
    parser.add_argument("--live", action="store_true", help="a sign of life is enough")
    options = parser.parse_args(arguments)

    def ask() -> int:
        models = check(options.url, options.timeout, live=options.live, tls=TLS.from_environment())
        print(f"ready: {', '.join(models)}" if models else "live")  # noqa: T201  a command prints
        return 0

    return run("python -m deploy.serve.probe", ask)


if __name__ == "__main__":
    sys.exit(main())
