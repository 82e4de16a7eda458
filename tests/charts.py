"""The chart, rendered by the real helm."""

from __future__ import annotations

import subprocess
import sys
from functools import cache
from pathlib import Path
from typing import Any

import yaml

from tests.conftest import ROOT

CHART = ROOT / "deploy" / "helm" / "alexnet-serving"
#: One a feature.
VALUES = sorted((CHART / "ci").glob("*-values.yaml"))


def helm(*arguments: object) -> subprocess.CompletedProcess[str]:
    """Run helm, which the Makefile installs beside Python."""
    command = [Path(sys.executable).with_name("helm"), *arguments]
    return subprocess.run(list(map(str, command)), capture_output=True, text=True, check=False)


def render(values: Path, *settings: str) -> list[dict[str, Any]]:
    """The manifests of a release ``alexnet`` in the namespace ``serving``.

    Args:
        settings: further ``key=value``.
    """
    return [manifest for manifest in yaml.load_all(_rendered(values, settings), yaml.CSafeLoader) if manifest]


@cache
def _rendered(values: Path, settings: tuple[str, ...]) -> str:
    more = [argument for setting in settings for argument in ("--set", setting)]
    done = helm("template", "alexnet", CHART, "--namespace", "serving", "--values", values, *more)
    assert done.returncode == 0, done.stderr
    return done.stdout


def of_kind(manifests: list[dict[str, Any]], kind: str, name: str = "") -> dict[str, Any]:
    """The only one of a kind, or the one whose name ends so."""
    (found,) = [
        manifest for manifest in manifests if manifest["kind"] == kind and manifest["metadata"]["name"].endswith(name)
    ]
    return found
