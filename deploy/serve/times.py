"""How long a server may take for what, in seconds."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Times:
    """The supervisor's patience; all in seconds."""

    #: Until every model answers.
    start: float = 60.0
    #: For what a server was asked before it is ended.
    stop: float = 6.0
    #: For what a server was asked before another took its place.
    drain: float = 10.0
    #: Between two looks at the processes and at the repository.
    watch: float = 0.25
    #: Between two questions to a model.
    pulse: float = 2.0
    #: For a model's answer, or a sign that it works on one.
    answer: float = 4.0
    #: That a process may be stopped (SIGSTOP); one that goes on after longer answers with other requests' bytes.
    stopped: float = 1.0
    #: Before another attempt, one after the other; the last one counts for all that follow.
    backoff: tuple[float, ...] = (0.0, 1.0, 2.0, 5.0, 10.0)
    #: A server that lived this long was sound: the backoff starts anew.
    sound: float = 5.0
    #: Before a release that was not taken is tried again.
    decline: float = 60.0
    #: Until Envoy is there, or has turned.
    door: float = 5.0
