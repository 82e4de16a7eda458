"""The asynchronous client called as the synchronous one is, so that one test holds for both."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Callable, Coroutine, Iterator
from typing import Any, Self

from alexnet_client import AlexNetClient, Answer, AsyncAlexNetClient


class Blocking:
    """An :class:`AsyncAlexNetClient` with an event loop of its own, in a thread of its own."""

    def __init__(self, *arguments: Any, **options: Any) -> None:
        self.client = AsyncAlexNetClient(*arguments, **options)
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._loop.run_forever, daemon=True)
        self._thread.start()

    def run(self, coroutine: Coroutine[Any, Any, Any]) -> Any:
        """Its result."""
        return asyncio.run_coroutine_threadsafe(coroutine, self._loop).result()

    def __getattr__(self, name: str) -> Any:
        value = getattr(self.client, name)
        if not asyncio.iscoroutinefunction(value):
            return value
        return lambda *arguments, **options: self.run(value(*arguments, **options))

    def stream(self, *arguments: Any, **options: Any) -> Iterator[Answer]:
        """Its answers, one by one; closed with the iterator."""
        answers = self.client.stream(*arguments, **options)

        def each() -> Iterator[Answer]:
            try:
                while True:
                    try:
                        yield self.run(anext(answers))  # type: ignore[arg-type]
                    except StopAsyncIteration:
                        return
            finally:
                self.run(answers.aclose())  # type: ignore[attr-defined]

        return each()

    def __repr__(self) -> str:
        return repr(self.client)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join()
        self._loop.close()


#: Whatever makes a client.
Make = Callable[..., Any]
#: Both of them.
CLIENTS = [AlexNetClient, Blocking]
