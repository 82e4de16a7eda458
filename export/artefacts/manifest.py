"""The manifest: what an artefact is, where it came from, how well it was proved, and how to make it again.

One ``manifest.json`` stands beside every artefact. Standard library only, so that a server can check its files
without the exporter's packages.
"""

from __future__ import annotations

import json
from collections.abc import Iterable
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from alexnet_client.errors import AlexNetError
from alexnet_client.files import atomic_path, sha256

FILE_NAME = "manifest.json"
PASSED = "passed"


class ManifestError(AlexNetError):
    """A manifest that is missing, unreadable, or does not describe the files beside it."""


@dataclass(frozen=True, slots=True)
class Manifest:
    """The record of one artefact, written by ``export`` and copied, with the published files, into the repository."""

    model: str
    #: Path relative to the folder that ``files`` describes -> SHA-256.
    files: dict[str, str]
    #: SHA-256 of what it was made from: the checkpoint's weights, or the parent artefact.
    parent: str | None = None
    #: How it was made: precision, scheme, opset, calibration images...
    recipe: dict[str, Any] = field(default_factory=dict)
    #: Tool -> version.
    versions: dict[str, str] = field(default_factory=dict)
    #: top1, top5 in percent, over ``images`` images of the data set with SHA-256 ``dataset``.
    accuracy: dict[str, Any] = field(default_factory=dict)
    #: Distance from the reference: max_abs_dp, agreement (percent), cosine, and the limits they were held to.
    parity: dict[str, Any] = field(default_factory=dict)
    #: Of a plan: provider and its version, compute capability, profiles and other options, layers by precision, build
    #: seconds, bytes. Empty for a graph, which runs anywhere.
    engine: dict[str, Any] = field(default_factory=dict)
    #: :data:`PASSED`, or a sentence that says why not.
    verdict: str = "unproved"
    #: Why whoever published it accepted a verdict other than :data:`PASSED`.
    accepted: str = ""
    #: The command that makes it again.
    command: str = ""

    def write(self, folder: Path) -> None:
        """Write ``manifest.json`` into ``folder``, atomically."""
        with atomic_path(folder / FILE_NAME) as partial:
            partial.write_text(json.dumps(asdict(self), indent=2, sort_keys=True) + "\n")

    def check(self, folder: Path) -> None:
        """Check every file under ``folder`` that the manifest names.

        Raises:
            ManifestError: a file is missing or its SHA-256 is another; names the file, both hashes and the remedy.
        """
        for name, wanted in self.files.items():
            path = folder / name
            if not path.is_file():
                raise ManifestError(f"{path} is missing, its manifest names it: publish {self.model} again")
            got = sha256(path)
            if got != wanted:
                raise ManifestError(
                    f"{path} was changed after it was proved: its SHA-256 is {got[:16]}…, "
                    f"the manifest has {wanted[:16]}…: publish {self.model} again"
                )


def read(folder: Path) -> Manifest:
    """Read ``folder/manifest.json``.

    Raises:
        ManifestError: it is missing or no manifest.
    """
    path = folder / FILE_NAME
    try:
        return Manifest(**json.loads(path.read_text()))
    except FileNotFoundError as error:
        raise ManifestError(f"{path} is missing: only what `python -m export` wrote can be used") from error
    except (ValueError, TypeError) as error:
        raise ManifestError(f"{path} is no manifest ({error}): export it again") from error


def hashes(folder: Path, names: Iterable[str]) -> dict[str, str]:
    """SHA-256 of each named file under ``folder``."""
    return {name: sha256(folder / name) for name in names}
