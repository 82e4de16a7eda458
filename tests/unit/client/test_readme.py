"""What the client's README shows works, and what it says of errors is so."""

from __future__ import annotations

import asyncio
import re

import pytest

import alexnet_client
from alexnet_client._errors import MEANINGS
from alexnet_client._options import DEFAULT_URL
from tests.conftest import ROOT
from tests.fake_triton import FakeTriton
from tests.patterns import Patterns

README = (ROOT / "client" / "README.md").read_text()
EXAMPLES = [
    example
    for text in (README, (ROOT / "README.md").read_text())
    for example in re.findall(r"```python\n(.*?)```", text, re.DOTALL)
]


@pytest.mark.parametrize("example", EXAMPLES)
def test_examples_run(example: str, tmp_path, monkeypatch, capsys) -> None:
    for number, name in enumerate(("boot.png", "sandal.png", "sandal.jpg")):
        (tmp_path / name).write_bytes(Patterns().file(number))
    (tmp_path / "notes.txt").write_text("no image")
    monkeypatch.chdir(tmp_path)
    with FakeTriton() as server:
        server.regions = {}
        assert DEFAULT_URL in example
        names: dict = {}
        exec(compile(example.replace(DEFAULT_URL, server.url), "README.md", "exec"), names)
        if "main" in names:
            asyncio.run(names["main"]())
        assert server.calls
    if "notes.txt" in example:
        assert "1 notes.txt image 1 (notes.txt): got 8 bytes" in capsys.readouterr().out


def test_every_error_is_explained() -> None:
    errors = {name for name in alexnet_client.__all__ if isinstance(getattr(alexnet_client, name), type)}
    errors = {name for name in errors if issubclass(getattr(alexnet_client, name), Exception)}
    table = README.split("## Errors")[1].split("## ")[0]
    assert set(re.findall(r"^\| `(\w+)`", table, re.MULTILINE)) == errors


def test_every_meaning_has_a_row() -> None:
    """In the words of the server, whether it is sent again included."""
    rows = [row for row in README.split("| sent again |")[1].split("\n\n")[0].splitlines() if row.startswith("| ")]
    for meaning in MEANINGS:
        if meaning.signs != ("",) and meaning.kind is not alexnet_client.NotPermitted:
            for sign in meaning.signs:
                (row,) = [row for row in rows if sign in row.replace("`", "")] or [""]
                assert f"`{meaning.kind.__name__}`" in row, sign
