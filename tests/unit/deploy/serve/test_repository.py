"""What publish would refuse, serve refuses: by name, and the rest is served."""

from __future__ import annotations

import os
import re
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest

from deploy.serve.repository import check
from export.artefacts import manifest
from export.artefacts.manifest import Manifest
from export.proof.proof import WITHOUT_DEVICE, Verdict
from export.publish import publish
from tests.artefacts import make_artefact

ALL = ("alexnet_decode", "alexnet_fp32", "alexnet_int8", "alexnet")


@pytest.fixture
def release(tmp_path: Path) -> Path:
    root = tmp_path / "artefacts"
    folders = [make_artefact(root / "fp32", "fp32", b"full"), make_artefact(root / "int8-cpu", "int8", b"eight")]
    publish(tmp_path / "repository", folders, "int8")
    return (tmp_path / "repository").resolve()


def test_what_was_published_is_served(release: Path) -> None:
    assert (check(release).models, check(release).refused) == (ALL, {})


def rewritten(change: Callable[[Manifest], Manifest]) -> Callable[[Path], object]:
    def do(version: Path) -> None:
        change(manifest.read(version)).write(version)

    return do


def pipe(version: Path) -> None:
    (version / "manifest.json").unlink()
    os.mkfifo(version / "manifest.json")


SPOILED: dict[str, tuple[Callable[[Path], object], str]] = {
    "a failed verdict": (
        rewritten(
            lambda record: replace(record, proof=replace(record.proof, verdict=Verdict.FAILED, reasons=("bad",)))
        ),
        "may not be served, its verdict is «failed: bad»",
    ),
    "not proved, and nobody accepted it": (
        rewritten(lambda record: replace(record, proof=WITHOUT_DEVICE)),
        "may not be served, its verdict is «unproved: no device»",
    ),
    "another checkpoint": (
        rewritten(lambda record: replace(record, checkpoint="f" * 64)),
        r"was made from another checkpoint \(ffffffffffffffff…\)",
    ),
    "another model's": (rewritten(lambda record: replace(record, model="alexnet_int8")), "holds alexnet_int8"),
    "no end of brackets": (lambda version: (version / "manifest.json").write_text("[" * 100_000), "is no manifest"),
    "a pipe": (pipe, "is no manifest .want a file of at most 1,048,576 bytes"),
    "megabytes": (lambda version: (version / "manifest.json").write_text(" " * 2**21), "want a file of at most"),
}


@pytest.mark.parametrize("name", SPOILED)
def test_what_publish_would_refuse_is_refused(release: Path, name: str) -> None:
    spoil, message = SPOILED[name]
    spoil(release / "alexnet_fp32" / release.name)
    found = check(release)
    assert found.models == tuple(model for model in ALL if model != "alexnet_fp32")
    assert re.search(message, found.refused["alexnet_fp32"])


def test_what_asks_for_it_is_refused_with_it(release: Path) -> None:
    rewritten(lambda record: replace(record, proof=WITHOUT_DEVICE))(release / "alexnet_int8" / release.name)
    found = check(release)
    assert found.models == ("alexnet_decode", "alexnet_fp32")
    assert found.refused["alexnet"] == "alexnet needs alexnet_int8, which is not served"
