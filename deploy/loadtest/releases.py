"""Two releases to switch between: copies of what is published, which a fault may spoil."""

from __future__ import annotations

import shutil
from pathlib import Path

from export.publish import switch


def copy_twice(repository: Path, folder: Path) -> tuple[Path, list[Path]]:
    """Copy the published release twice below ``folder``; returns a repository that is the first, and both."""
    link = folder / "repository"
    releases = [link.with_name(f"{link.name}.releases") / number for number in ("1", "2")]
    for release in releases:
        shutil.copytree(repository.resolve(), release)
    switch(link, releases[0])
    return link, releases
