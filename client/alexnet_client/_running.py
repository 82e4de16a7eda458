"""A request of several, under way: attempts go in gRPC's threads, decisions are made in the one that waits."""

from __future__ import annotations

from collections.abc import Callable
from queue import Empty, SimpleQueue
from typing import Any, Generic, TypeVar

import grpc

from alexnet_client._core import Core
from alexnet_client._errors import CALLED_OFF, RequestError
from alexnet_client._exchange import Reply, Send, Steps, Wait

_T = TypeVar("_T")


class Running(Generic[_T]):
    """Steps that are gone through."""

    def __init__(self, steps: Steps[_T], send: Callable[[Send], grpc.Future], core: Core) -> None:
        self._steps, self._send, self._core = steps, send, core
        self._replies: SimpleQueue[Reply] = SimpleQueue()
        self._attempts: list[grpc.Future] = []
        self._waits: Wait | None = None
        self._error: BaseException | None = None
        self._advance(None)

    def result(self) -> _T:
        """Go on to the end.

        Raises:
            what the steps do.
        """
        try:
            while self._waits is not None:
                try:
                    reply = self._replies.get(timeout=self._waits.seconds)
                except Empty:
                    reply = None
                self._advance(reply)
        finally:
            self.cancel()
        if self._error is not None:
            raise self._error
        return self._value

    def cancel(self) -> None:
        """Call off what is under way; from any thread."""
        for attempt in self._attempts:
            attempt.cancel()
        self._replies.put(Reply(None, grpc.StatusCode.CANCELLED.name, CALLED_OFF))

    def _advance(self, reply: Reply | None) -> None:
        self._waits = None
        try:
            step = self._steps.send(reply)
            while isinstance(step, Send):
                attempt = self._send(step)
                self._attempts.append(attempt)
                attempt.add_done_callback(lambda done: self._replies.put(_reply(done)))
                step = self._steps.send(None)
            self._waits = step
        except StopIteration as end:
            self._value: _T = end.value
        except Exception as error:
            self._error = error
            if isinstance(error, RequestError):
                try:
                    self._core.refuse_when_closed(error)
                except RuntimeError as closed:
                    self._error = closed


def _reply(done: grpc.Future) -> Reply:
    try:
        return Reply(done.result(), headers=headers(done))
    except grpc.RpcError as error:
        return failed(error)
    except grpc.FutureCancelledError as error:
        return Reply(None, grpc.StatusCode.CANCELLED.name, CALLED_OFF, error)


def headers(call: Any) -> dict[str, str]:
    """What came before an answer."""
    return {str(key): str(value) for key, value in call.initial_metadata() or ()}


def failed(error: grpc.RpcError) -> Reply:
    """What gRPC raised, as the end of an attempt."""
    return Reply(None, error.code().name, error.details() or "no details", error)
