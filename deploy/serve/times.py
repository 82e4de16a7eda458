"""How long a server may take for what, in seconds."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Times:
    """The supervisor's patience; all in seconds."""

    #: Until every model answers.
    start: float = 60.0
    #: From SIGTERM to SIGKILL: with a backend process dead, a server does not end by itself.
    stop: float = 6.0
    #: To unload or load one model whose backend process died.
    reload: float = 4.0
    #: Between two looks at the processes and at the repository.
    watch: float = 0.25
    #: Before a server that died is started again, one after the other; then it is given up.
    backoff: tuple[float, ...] = (0.0, 1.0, 2.0, 5.0, 10.0)
    #: A server that lived this long was sound: the backoff starts anew.
    sound: float = 60.0
