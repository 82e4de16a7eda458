"""Publish: proved artefacts + configurations -> a complete model repository, switched live in one rename.

``REPOSITORY`` is a symbolic link to a release, ``REPOSITORY.releases/<n>``. A publish stages release n + 1 beside it,
flushes it to disk, renames it into place and then renames the link: killed at any moment, it leaves the old release
or the new one. Every model of a release has the release's number as its Triton version.
"""

from __future__ import annotations

import fcntl
import os
import shutil
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

from alexnet_client.contract import ENSEMBLE, precision_model
from alexnet_client.errors import AlexNetError
from alexnet_client.files import file_errors, sync
from export import remedy
from export.artefacts import artefact, manifest
from export.artefacts.manifest import Manifest
from export.proof.lineage import check_ancestors, stale
from export.proof.proof import Verdict
from export.release import SOURCE, Member, stage

#: Releases that stay: the live one, the new one, and others that may be pinned somewhere.
KEPT, FEWEST = 5, 2


class PublishError(AlexNetError):
    """What was asked for cannot be published."""


def publish(
    repository: Path,
    folders: Sequence[Path],
    precision: str,
    accepted: str = "",
    source: Path = SOURCE,
    near: Sequence[Path] = (),
    *,
    live: bool = True,
    keep: int = KEPT,
) -> int:
    """Publish artefacts as a new release and switch ``repository`` to it.

    Args:
        repository: the link to make or move.
        folders: proved artefacts, all from one checkpoint: of each precision a graph, or engines for different GPUs, or
            both, and then the graph is what a server without a matching GPU falls back on.
        precision: the one that answers behind the ``alexnet`` ensemble.
        accepted: why engines that were never on their GPU may be published; recorded in their manifests. They are
            proved where they are first loaded.
        source: the folder of configurations and Python models.
        near: more folders of artefacts to look for parents in, beside those that ``folders`` lie in.
        live: switch to it; without, it waits to be tried, and the same call with it goes live.
        keep: releases that stay, at least 2: the live one, the new one and the newest others. The rest is deleted when
            a release is added, whoever may still have it pinned.

    Returns:
        the release's number; that of the live one or the newest when it holds exactly this already.

    Raises:
        manifest.ManifestError: an artefact was changed.
        PublishError: an artefact is missing or has no passing verdict, they do not belong together, ``repository`` is a
            real folder, or too few are to be kept.
        FileError: the disk is full, say; the old release is still there and whole.
    """
    if keep < FEWEST:
        raise PublishError(f"got {keep} releases to keep: want {FEWEST} or more, the live one and the new one")
    for folder in folders:
        if not (folder / manifest.FILE_NAME).exists():
            raise PublishError(f"{folder / manifest.FILE_NAME} is missing: {remedy.of_missing(folder.name, precision)}")
    models = _models([(folder, artefact.read(folder)) for folder in folders], precision, accepted)
    _check_lineage([member for members in models.values() for member in members], near)
    if repository.exists() and not repository.is_symlink():
        raise PublishError(f"{repository} is a folder, publish keeps a link there: move it away or name another")
    releases = repository.with_name(f"{repository.name}.releases")
    with file_errors(repository), _locked(releases):
        for leftover in releases.glob(".*.partial"):
            shutil.rmtree(leftover)
        numbers = sorted(int(path.name) for path in releases.iterdir() if path.name.isdigit())
        number = numbers[-1] + 1 if numbers else 1
        staged = releases / f".{number}.partial"
        try:
            stage(staged, number, models, precision, accepted, source)
            present = int(repository.readlink().name) if repository.is_symlink() else None
            content = _content(staged, number)
            for known in (present, *numbers[-1:]):
                if known and _content(releases / str(known), known) == content:
                    shutil.rmtree(staged)
                    if live and known != present:
                        switch(repository, releases / str(known))
                    return known
            staged.rename(releases / str(number))
        except BaseException:
            shutil.rmtree(staged, ignore_errors=True)
            raise
        sync(releases)
        if live:
            switch(repository, releases / str(number))
        # What served until now stays for a rollback, be it the newest or one that was rolled back to.
        before = present or (numbers[-1] if numbers else None)
        others = [old for old in reversed(numbers) if old != before]
        for old in others[keep - FEWEST :]:
            shutil.rmtree(releases / str(old))
    return number


def _models(members: Sequence[Member], precision: str, accepted: str) -> dict[str, list[Member]]:
    """Served model -> its artefacts."""
    models: dict[str, list[Member]] = {}
    for folder, record in members:
        _check_verdict(folder, record, accepted)
        models.setdefault(record.model, []).append((folder, record))
    if precision_model(precision) not in models:
        raise PublishError(f"no {precision} artefact to answer behind {ENSEMBLE}: got {', '.join(models) or 'none'}")
    for name, alike in models.items():
        runs_on = [_runs_on(record) for _, record in alike]
        if len(set(runs_on)) != len(runs_on):
            raise PublishError(f"two artefacts of one precision for the same hardware: {name} for {', '.join(runs_on)}")
    if len({record.checkpoint for _, record in members}) > 1:
        raise PublishError("the artefacts come from different checkpoints: export them all from one")
    return models


def _check_verdict(folder: Path, record: Manifest, accepted: str) -> None:
    if record.proof.passed:
        if changes := stale(record, serves=True):
            raise PublishError(
                f"{folder} may not be published, it was proved under other conditions ({'; '.join(changes)}): "
                "verify it again"
            )
        return
    refusal = f"{folder} may not be published, its verdict is «{record.proof}»"
    if record.proof.verdict is Verdict.FAILED:
        raise PublishError(f"{refusal}: `python -m export verify {folder.name}` says what to do next")
    if not record.proof.lacks_device:
        raise PublishError(refusal)
    if not accepted.strip():
        raise PublishError(f"{refusal}: verify it on its GPU, or accept that with --accept-unproved REASON")
    if artefact.GOLDEN_FILE not in record.files:
        raise PublishError(
            f"{refusal} and it has no golden batch to be proved by at load: verify its graph and build it again"
        )


def _check_lineage(members: Sequence[Member], near: Sequence[Path]) -> None:
    """What an artefact was made from, and held against, must be proved as well, up to the checkpoint."""
    roots = [root for folder, _ in members for root in (folder.parent, folder.resolve().parent)]
    for folder, record in members:
        check_ancestors(str(folder), record, [*roots, *near])


def _runs_on(record: Manifest) -> str:
    if record.engine is None:
        return "any"
    return "any GPU" if record.engine.options["hardware_compatible"] else record.engine.capability


def _content(release: Path, number: int) -> dict[str, dict[str, str]]:
    """Model -> file -> SHA-256, with the release's number taken out of the names; empty for a damaged release."""
    try:
        return {
            folder.name: {name.removeprefix(f"{number}/"): sha for name, sha in record.files.items()}
            for folder in release.iterdir()
            for record in [manifest.read(folder / str(number))]
        }
    except manifest.ManifestError:
        return {}


def switch(repository: Path, release: Path) -> None:
    """Have ``repository`` lead to another release, by one rename; to an earlier one, it is a rollback."""
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
        except BlockingIOError as error:
            raise PublishError(f"another publish is writing {releases}: wait for it, then publish again") from error
        yield
