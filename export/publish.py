"""Publish: proved artefacts + configurations -> a complete model repository, switched live in one rename.

``REPOSITORY`` is a symbolic link to a release, ``REPOSITORY.releases/<n>``. A publish stages release n + 1 beside it,
flushes it to disk, renames it into place and then renames the link: killed at any moment, it leaves the old release
or the new one. Every model of a release has the release's number as its Triton version.
"""

from __future__ import annotations

import fcntl
import os
import shutil
import string
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path

from alexnet_client.contract import DECODER, ENSEMBLE, precision_model
from export import artefact, manifest
from training.atomic import sync

SOURCE = Path(__file__).resolve().parent.parent / "model_repository"
CONFIG = "config.pbtxt"
#: The release that serves and the one before it, for a rollback.
KEPT_RELEASES = 2


class PublishError(ValueError):
    """What was asked for cannot be published."""


def publish(repository: Path, folders: Sequence[Path], precision: str, source: Path = SOURCE) -> int:
    """Publish artefacts as a new release and switch ``repository`` to it.

    Args:
        repository: the link to make or move.
        folders: proved artefacts, one a precision, all from one checkpoint.
        precision: the one that answers behind the ``alexnet`` ensemble.
        source: the folder of configurations and Python models.

    Returns:
        the release's number; the present one when it holds exactly this already.

    Raises:
        manifest.ManifestError: an artefact is missing or changed.
        PublishError: an artefact has no passing verdict, they do not belong together, or ``repository`` is a real
            folder.
        OSError: the disk is full, say; the old release is still there and whole.
    """
    records = [(folder, artefact.read(folder)) for folder in folders]
    _check(records, precision)
    if repository.exists() and not repository.is_symlink():
        raise PublishError(f"{repository} is a folder, publish keeps a link there: move it away or name another")
    releases = repository.with_name(f"{repository.name}.releases")
    with _locked(releases):
        for leftover in releases.glob(".*.partial"):
            shutil.rmtree(leftover)
        numbers = sorted(int(path.name) for path in releases.iterdir() if path.name.isdigit())
        number = numbers[-1] + 1 if numbers else 1
        staged = releases / f".{number}.partial"
        try:
            _stage(staged, number, records, precision, source)
            present = int(repository.readlink().name) if repository.is_symlink() else None
            if present and _content(releases / str(present), present) == _content(staged, number):
                shutil.rmtree(staged)
                return present
            staged.rename(releases / str(number))
        except BaseException:
            shutil.rmtree(staged, ignore_errors=True)
            raise
        sync(releases)
        _switch(repository, releases / str(number))
        for old in (*numbers, number)[:-KEPT_RELEASES]:
            shutil.rmtree(releases / str(old))
    return number


def _check(records: Sequence[tuple[Path, manifest.Manifest]], precision: str) -> None:
    for folder, record in records:
        if record.verdict != manifest.PASSED:
            raise PublishError(f"{folder} may not be published, its verdict is «{record.verdict}»")
    models = [record.model for _, record in records]
    if precision_model(precision) not in models:
        raise PublishError(f"no {precision} artefact to answer behind {ENSEMBLE}: got {', '.join(models) or 'none'}")
    if len(set(models)) != len(models):
        raise PublishError(f"two artefacts of one precision: got {', '.join(models)}, want one of each")
    if len({record.recipe["checkpoint"] for _, record in records}) > 1:
        raise PublishError("the artefacts come from different checkpoints: export them all from one")


def _stage(
    staged: Path, number: int, records: Sequence[tuple[Path, manifest.Manifest]], precision: str, source: Path
) -> None:
    labels = (records[0][0] / artefact.LABELS_FILE).read_text().splitlines()
    values = {"classes": str(len(labels)), "precision": precision}
    for folder, record in records:
        model = staged / record.model
        _configure(source / record.model, model, values)
        (model / str(number)).mkdir()
        names = [CONFIG]
        for name, place in ((artefact.MODEL_FILE, f"{number}/{artefact.MODEL_FILE}"), (artefact.LABELS_FILE,) * 2):
            shutil.copyfile(folder / name, model / place)
            names.append(place)
        record = replace(record, files=manifest.hashes(model, names))  # noqa: PLW2901
        record.write(model / str(number))
    for name in (DECODER, ENSEMBLE):
        model = staged / name
        _configure(source / name, model, values)
        (model / str(number)).mkdir()
        names = [CONFIG]
        if name == ENSEMBLE:
            shutil.copyfile(records[0][0] / artefact.LABELS_FILE, model / artefact.LABELS_FILE)
            names.append(artefact.LABELS_FILE)
        for path in sorted((source / name).glob("1/*.py")):
            shutil.copyfile(path, model / str(number) / path.name)
            names.append(f"{number}/{path.name}")
        manifest.Manifest(model=name, files=manifest.hashes(model, names), verdict=manifest.PASSED).write(
            model / str(number)
        )
    for path in staged.rglob("*"):
        sync(path)
    sync(staged)


def _configure(source: Path, model: Path, values: dict[str, str]) -> None:
    model.mkdir(parents=True)
    (model / CONFIG).write_text(string.Template((source / CONFIG).read_text()).substitute(values))


def _content(release: Path, number: int) -> dict[str, dict[str, str]]:
    """Model -> file -> SHA-256, with the release's number taken out of the names."""
    return {
        folder.name: {name.removeprefix(f"{number}/"): sha for name, sha in record.files.items()}
        for folder in release.iterdir()
        for record in [manifest.read(folder / str(number))]
    }


def _switch(repository: Path, release: Path) -> None:
    partial = repository.with_name(f".{repository.name}.partial")
    partial.unlink(missing_ok=True)
    partial.symlink_to(os.path.relpath(release, repository.parent))
    partial.replace(repository)
    sync(repository.parent)


@contextmanager
def _locked(releases: Path) -> Iterator[None]:
    """One publish at a time: the lock is the kernel's, so a killed publish leaves none behind."""
    releases.mkdir(parents=True, exist_ok=True)
    with (releases / ".lock").open("w") as lock:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            raise PublishError(f"another publish is writing {releases}: wait for it, then publish again") from None
        yield
