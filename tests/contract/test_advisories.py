"""What NVIDIA says of the Tritons that are shipped stands in SECURITY.md; the GPU image has what it serves by alone."""

from __future__ import annotations

import re
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import tomllib

ROOT = Path(__file__).parents[2]
LIST: dict[str, Any] = tomllib.loads(Path(__file__).with_name("advisories.toml").read_text())
DOCKERFILE = (ROOT / "deploy" / "docker" / "Dockerfile").read_text()
CVE = re.compile(r"\b20\d\d-\d{4,}\b")


def advisories() -> Iterator[tuple[str, int, str]]:
    """CVE, number of a bulletin that has it, and the first container without it."""
    for bulletin in LIST["bulletin"]:
        for container, names in bulletin["mended"].items():
            for name in names:
                yield name, bulletin["number"], container


def wheel() -> str:
    """The container whose server pip installs."""
    (pin,) = re.findall(r"^nvidia-pytriton==\S+", (ROOT / "constraints.txt").read_text(), re.MULTILINE)
    assert pin in LIST["wheel"], f"say in advisories.toml which container's server {pin} carries"
    return str(LIST["wheel"][pin])


def image() -> str:
    """The container that the image for GPUs is made from."""
    (base,) = re.findall(r"^ARG BASE=nvcr\.io/nvidia/tritonserver:(\d\d\.\d\d)-py3\b", DOCKERFILE, re.MULTILINE)
    return str(base)


def section() -> str:
    """Of SECURITY.md, what is about Triton's advisories."""
    return (ROOT / "SECURITY.md").read_text().partition("\n## Triton's known holes\n")[2].partition("\n## ")[0]


def rows(text: str) -> list[str]:
    """Those of its table that name a CVE."""
    return [line for line in text.splitlines() if line.startswith("|") and CVE.search(line)]


def without_row(shipped: str, text: str) -> set[str]:
    """CVEs that a server has and the table has not; containers' versions sort as text."""
    told = set(CVE.findall("".join(rows(text))))
    return {name for name, _, mended in advisories() if mended > shipped} - told


@pytest.mark.parametrize("shipped", [wheel, image])
def test_every_advisory_of_a_shipped_server_has_a_row(shipped: Any) -> None:
    assert not without_row(shipped(), section())


def test_a_row_less_is_seen() -> None:
    table = rows(section())
    assert table
    for row in table:
        assert without_row(wheel(), section().replace(row, "")) == set(CVE.findall(row))


def test_no_row_names_another_or_names_one_twice() -> None:
    told = CVE.findall("".join(rows(section())))
    assert sorted(told) == sorted({name for name, *_ in advisories()})


def test_a_row_names_the_bulletins_of_its_advisories() -> None:
    for row in rows(section()):
        named = {int(number) for number in row.split("|")[1].split(",")}
        assert named == {number for name, number, _ in advisories() if name in CVE.findall(row)}, row


def test_what_the_section_says_of_the_shipped_servers_is_so() -> None:
    newest = max(mended for *_, mended in advisories())
    count = len({name for name, *_ in advisories()})
    for said in (f"pip is {wheel()}", f"from {image()}", f"{count} CVEs", f"mended in {newest}", str(LIST["read"])):
        assert said in section()
    assert image() >= newest


def test_the_image_keeps_the_backends_that_serve_and_no_other(tmp_path: Path) -> None:
    (command,) = re.findall(r"find /opt/tritonserver/backends .* \{\} \+", DOCKERFILE)
    ours = {path.parent.name for path in (ROOT / "deploy" / "backends").glob("*/model.py")}
    named = {
        name
        for path in (ROOT / "model_repository").glob("*/config.pbtxt")
        for name in re.findall(r'^backend: "(\w+)"', path.read_text(), re.MULTILINE)
    }
    for name in (*ours, *named, "dali", "pytorch", "vllm"):
        (tmp_path / "backends" / name / "lib").mkdir(parents=True)
    subprocess.run(["bash", "-c", command.replace("/opt/tritonserver", str(tmp_path))], check=True)
    assert {path.name for path in (tmp_path / "backends").iterdir()} == ours | named
