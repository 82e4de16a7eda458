"""tritonserver's command line, as a pure function of what is wanted."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from deploy.serve.ports import HOST, Ports
from deploy.serve.probe import ADMIN_HEADER

#: Who may load models and map memory owns the server: whoever knows the key.
PROTECTED = "model-repository,shared-memory"


@dataclass(frozen=True, slots=True)
class Options:
    """What a tritonserver serves, where, and to whom."""

    binary: Path
    repository: Path
    backends: Path
    models: tuple[str, ...]
    ports: Ports
    #: Of its regions in shared memory.
    prefix: str
    #: Opens what is protected.
    key: str
    #: Seconds that requests under way are given after SIGTERM.
    drain: float
    host: str = HOST


def command(options: Options) -> list[str]:
    """The command line, its paths absolute."""
    line = [
        str(options.binary),
        f"--model-repository={options.repository.absolute()}",
        f"--backend-directory={options.backends.absolute()}",
    ]
    for name in Ports.__slots__:
        line += [f"--{name}-address={options.host}", f"--{name}-port={getattr(options.ports, name)}"]
    return [
        *line,
        "--model-control-mode=explicit",
        *(f"--load-model={model}" for model in options.models),
        "--exit-on-error=false",
        "--strict-readiness=false",
        # The configurations are complete: without this each model's code is started once more, to be asked about them.
        "--disable-auto-complete-config",
        f"--exit-timeout-secs={options.drain:.0f}",
        "--metrics-interval-ms=1000",
        f"--backend-config=python,shm-region-prefix-name={options.prefix}",
        f"--grpc-restricted-protocol={PROTECTED}:admin-key={options.key}",
        f"--http-restricted-api={PROTECTED}:{ADMIN_HEADER}={options.key}",
    ]
