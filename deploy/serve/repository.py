"""Which models of a published repository may be loaded: those that ``publish`` would have, as it wrote them."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, field
from pathlib import Path

from alexnet_client.errors import AlexNetError, FileError
from export.artefacts import manifest

CONFIG = "config.pbtxt"


class RepositoryError(AlexNetError):
    """There is nothing to serve."""


@dataclass(frozen=True, slots=True)
class Checked:
    """A repository that was read at one moment."""

    #: What the link pointed to.
    release: Path
    #: Models to load, those that others need first.
    models: tuple[str, ...]
    #: Model -> why it is not loaded.
    refused: dict[str, str] = field(default_factory=dict)


def check(repository: Path) -> Checked:
    """Check every model of a repository.

    Raises:
        RepositoryError: there is no repository, or no model in it.
    """
    release = repository.resolve()
    folders = sorted(path.parent for path in release.glob(f"*/{CONFIG}")) if release.is_dir() else []
    if not folders:
        raise RepositoryError(
            f"there is no model repository at {repository}: `make demo` or `export publish` makes one"
        )
    refused: dict[str, str] = {}
    records: dict[str, manifest.Manifest] = {}
    for folder in folders:
        versions = sorted((path for path in folder.iterdir() if path.name.isdigit()), key=lambda path: int(path.name))
        try:
            if not versions:
                raise manifest.ManifestError(f"{folder} has no version: publish it again")
            record = manifest.read(versions[-1])
            _check_record(folder, record)
            record.check(folder)
            records[folder.name] = record
        except (manifest.ManifestError, FileError) as error:
            refused[folder.name] = str(error)
    refused |= _of_others(records)
    for model, record in records.items():
        missing = [step for step in record.needs if step in refused or step not in records]
        if missing and model not in refused:
            refused[model] = f"{model} needs {', '.join(missing)}, which is not served"
    models = [folder.name for folder in folders if folder.name not in refused]
    return Checked(release, tuple(sorted(models, key=lambda model: (bool(records[model].needs), model))), refused)


def _check_record(folder: Path, record: manifest.Manifest) -> None:
    """Hashes tell damage; this tells what was put together by hand."""
    if record.model != folder.name:
        raise manifest.ManifestError(f"{folder} holds {record.model}: publish it again")
    if not record.proof.passed and not (record.proof.lacks_device and record.accepted):
        raise manifest.ManifestError(
            f"{folder} may not be served, its verdict is «{record.proof}»: verify it and publish it again"
        )


def _of_others(records: dict[str, manifest.Manifest]) -> dict[str, str]:
    """Model -> why not, of those that come from other weights than what answers behind the ensemble, or than most."""
    asked = [step for record in records.values() for step in record.needs if step in records]
    made = Counter(records[name].checkpoint for name in asked or records if records[name].checkpoint)
    if not made:
        return {}
    (checkpoint, _), *_ = made.most_common(1)
    return {
        name: f"{name} was made from another checkpoint ({record.checkpoint[:16]}…) than what it is published with "
        f"({checkpoint[:16]}…): publish them together"
        for name, record in records.items()
        if record.checkpoint and record.checkpoint != checkpoint
    }
