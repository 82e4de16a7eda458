"""``python -m deploy.gateway --config-path envoy.yaml``: becomes the doors' Envoy, with those arguments."""

from __future__ import annotations

import os
import sys

from alexnet_client.command import run
from deploy.serve.installation import envoy


def main(arguments: list[str] | None = None) -> int:
    """Run Envoy in this process's place; returns only if there is none: 1, with one line on standard error."""
    return run("python -m deploy.gateway", lambda: _become(sys.argv[1:] if arguments is None else arguments))


def _become(arguments: list[str]) -> int:
    binary = str(envoy())
    os.execv(binary, [binary, *arguments])


if __name__ == "__main__":
    sys.exit(main())
