"""tritonserver's command line, as a pure function of what is wanted."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from deploy.serve.sockets import Sockets

#: What only the owner of a server may do: map memory, and change its log and its traces. Models are managed by nobody:
#: there is a server for every release.
PROTECTED = "shared-memory,trace,logging"
#: Triton opens them to calls with this header. Its name has a capital, which no HTTP/2 header may have: they are shut.
NOBODY = "Nobody=in"


@dataclass(frozen=True, slots=True)
class Options:
    """What a tritonserver serves, and where it listens."""

    binary: Path
    #: All models in it are served.
    repository: Path
    backends: Path
    sockets: Sockets
    #: Of its regions in shared memory.
    prefix: str
    #: Seconds from SIGTERM until it is killed.
    stop: float
    #: KServe's HTTP as well; a few bytes of it end Triton 24.10.
    http_too: bool = False
    #: Where spans go, OTLP over HTTP; None keeps no traces.
    traces: str | None = None


def command(options: Options) -> list[str]:
    """The command line, its paths absolute."""
    grpc, _, port = str(options.sockets.grpc).rpartition(":")
    line = [
        str(options.binary),
        f"--model-repository={options.repository.absolute()}",
        f"--backend-directory={options.backends.absolute()}",
        f"--grpc-address=unix:{grpc}",
        f"--grpc-port={port}",
        f"--metrics-address=unix:{options.sockets.metrics}",
    ]
    if options.http_too:
        line += [f"--http-address=unix:{options.sockets.http}", f"--http-restricted-api={PROTECTED}:{NOBODY}"]
    else:
        line.append("--allow-http=false")
    return [
        *line,
        "--model-control-mode=none",
        "--exit-on-error=false",
        "--strict-readiness=false",
        # The configurations are complete: without this each model's code is started once more, to be asked about them.
        "--disable-auto-complete-config",
        f"--exit-timeout-secs={options.stop - 1:.0f}",
        "--metrics-interval-ms=1000",
        f"--backend-config=python,shm-region-prefix-name={options.prefix}",
        f"--grpc-restricted-protocol={PROTECTED}:{NOBODY}",
        *(_tracing(options.traces) if options.traces else ()),
    ]


def _tracing(url: str) -> list[str]:
    """Spans of those calls whose caller sends a trace context and so has chosen them: Triton itself chooses none."""
    wanted = {"mode": "opentelemetry", "rate": "0", "level": "TIMESTAMPS", "opentelemetry,url": url}
    return [f"--trace-config={name}={value}" for name, value in wanted.items()]
