"""Which models of a published repository may be loaded: those whose every file is as it was proved."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path

from alexnet_client.errors import AlexNetError
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
    needs: dict[str, tuple[str, ...]] = {}
    for folder in folders:
        versions = sorted((path for path in folder.iterdir() if path.name.isdigit()), key=lambda path: int(path.name))
        try:
            if not versions:
                raise manifest.ManifestError(f"{folder} has no version: publish it again")
            record = manifest.read(versions[-1])
            record.check(folder)
            needs[folder.name] = record.needs
        except manifest.ManifestError as error:
            refused[folder.name] = str(error)
    for model, steps in needs.items():
        missing = [step for step in steps if step in refused or step not in needs]
        if missing and model not in refused:
            refused[model] = f"{model} needs {', '.join(missing)}, which is not served"
    models = [folder.name for folder in folders if folder.name not in refused]
    return Checked(release, tuple(sorted(models, key=lambda model: (bool(needs[model]), model))), refused)
