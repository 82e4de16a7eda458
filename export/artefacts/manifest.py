"""The manifest: what an artefact is, where it came from, how well it was proved, and how to make it again.

One ``manifest.json`` stands beside every artefact, and in every model of a published repository. It names every file
that is there, and is read by its types: what is missing, strange or of another format is refused.
"""

from __future__ import annotations

import json
import stat
from collections.abc import Iterable
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from pydantic import ConfigDict, TypeAdapter, ValidationError

from alexnet_client.errors import AlexNetError
from alexnet_client.files import atomic_path, file_errors, sha256
from export.engines.plan import Plan
from export.proof.proof import Proof

FILE_NAME = "manifest.json"
#: Raised when a manifest of before can no longer be read as it was meant.
FORMAT = 2
#: Bytes of one.
LARGEST = 2**20


class ManifestError(AlexNetError):
    """A manifest that is missing, unreadable, or does not describe the files beside it."""


@dataclass(frozen=True, slots=True)
class Calibration:
    """The pictures that activations' ranges were found on."""

    method: str
    images: int
    #: SHA-256 of the data set, and of the pixels that were used of it.
    dataset: str
    pixels_sha256: str


@dataclass(frozen=True, slots=True)
class Recipe:
    """How it was made."""

    precision: str
    #: Of INT8: whose kernels it is for.
    scheme: str | None = None
    opset: int | None = None
    calibration: Calibration | None = None


@dataclass(frozen=True, slots=True)
class Engine:
    """What a plan was built by and for."""

    provider: str
    version: str
    capability: str
    options: dict[str, Any]
    #: SHA-256 of the graph that it was built from, without the weights where it is stripped of them.
    network: str
    seconds: float = 0.0
    bytes: int = 0
    layers: int = 0
    #: Precision -> how many layers that multiply run in it.
    precisions: dict[str, int] = field(default_factory=dict)

    def same_as(self, other: Engine) -> bool:
        """Whether it was asked for in the same way."""
        return all(
            getattr(self, name) == getattr(other, name)
            for name in ("provider", "version", "capability", "options", "network")
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class Manifest:
    """The record of one artefact, or of one model of a published repository."""

    __pydantic_config__ = ConfigDict(extra="forbid", strict=True)

    format: int = FORMAT
    model: str
    #: Path relative to the folder that it describes -> SHA-256: every file there, but the manifest itself.
    files: dict[str, str]
    #: None for what has no weights: the decoder.
    recipe: Recipe | None = None
    #: SHA-256 of the weights that all comes from.
    checkpoint: str = ""
    #: SHA-256 of what it was made from: the checkpoint's weights, or another artefact's graph.
    parent: str = ""
    #: Of an artefact with a plan.
    engine: Engine | None = None
    #: Of a published model with engines.
    plans: tuple[Plan, ...] = ()
    #: Whether its graph lies beside the plans, to serve where none fits.
    fallback: bool = False
    #: Models that it asks, of an ensemble.
    needs: tuple[str, ...] = ()
    #: Tool -> version.
    versions: dict[str, str] = field(default_factory=dict)
    proof: Proof = field(default_factory=Proof)
    #: Why whoever published it accepted a verdict other than ``passed``.
    accepted: str = ""
    #: The command that makes it again.
    command: str = ""

    @property
    def precision(self) -> str:
        """Of its recipe.

        Raises:
            ManifestError: it has none.
        """
        if self.recipe is None:
            raise ManifestError(f"{self.model} has no precision: want an artefact of the exporter")
        return self.recipe.precision

    @property
    def kind(self) -> str:
        """``fp32``, ``int8-cpu``: precision and scheme, the name of an artefact's folder."""
        scheme = self.recipe.scheme if self.recipe else None
        return f"{self.precision}-{scheme}" if scheme else self.precision

    def write(self, folder: Path) -> None:
        """Write ``manifest.json`` into ``folder``, atomically.

        Raises:
            FileError: it cannot be written.
        """
        with atomic_path(folder / FILE_NAME) as partial:
            partial.write_text(json.dumps(asdict(self), indent=2, sort_keys=True) + "\n")

    def check(self, folder: Path) -> None:
        """Check that ``folder`` holds the files that the manifest names, as they were, and no other.

        Raises:
            ManifestError: a file is missing, strange, or its SHA-256 is another; names the file and the remedy.
        """
        strange = sorted(present_files(folder) - self.files.keys())
        if strange:
            raise ManifestError(f"{folder / strange[0]} is not in the manifest of {self.model}: remove it")
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


_ADAPTER = TypeAdapter(Manifest)


def read(folder: Path) -> Manifest:
    """Read ``folder/manifest.json``.

    Raises:
        ManifestError: it is missing, no manifest, or of another format.
    """
    path = folder / FILE_NAME
    try:
        status = path.stat()
        if not stat.S_ISREG(status.st_mode) or status.st_size > LARGEST:
            raise ManifestError(f"{path} is no manifest (want a file of at most {LARGEST:,} bytes): export it again")
        text = path.read_text()
    except FileNotFoundError as error:
        raise ManifestError(f"{path} is missing: only what `python -m export` wrote can be used") from error
    except (OSError, ValueError) as error:
        raise ManifestError(f"{path} cannot be read ({error}): export it again") from error
    try:
        found = json.loads(text).get("format", 1)
    except (ValueError, AttributeError, RecursionError) as error:
        raise ManifestError(f"{path} is no manifest ({error}): export it again") from error
    if found != FORMAT:
        raise ManifestError(f"{path} has format {found!r}, this release reads {FORMAT}: export it again")
    try:
        return _ADAPTER.validate_json(text)
    except ValidationError as error:
        first = error.errors()[0]
        where = ".".join(map(str, first["loc"])) or "it"
        raise ManifestError(f"{path} is no manifest ({where}: {first['msg']}): export it again") from error


def present_files(folder: Path) -> set[str]:
    """Every file and link below ``folder``, but manifests where Triton or the exporter looks for them."""
    return {
        str(path.relative_to(folder))
        for path in folder.rglob("*")
        if (path.is_symlink() or path.is_file()) and path.name != FILE_NAME
    }


def hashes(folder: Path, names: Iterable[str]) -> dict[str, str]:
    """SHA-256 of each named file under ``folder``.

    Raises:
        FileError: one cannot be read.
    """
    with file_errors(folder):
        return {name: sha256(folder / name) for name in sorted(names)}
