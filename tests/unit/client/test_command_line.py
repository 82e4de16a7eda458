"""The command line: what it prints, and how it ends."""

from __future__ import annotations

import json
from pathlib import Path

import grpc
import numpy as np
import pytest

from alexnet_client import Prediction
from alexnet_client.__main__ import main
from tests.fake_triton import FakeTriton, Scripted
from tests.patterns import Patterns


@pytest.fixture
def server():
    with FakeTriton(models=("alexnet_int8", "alexnet")) as running:
        yield running


@pytest.fixture
def files(tmp_path: Path) -> list[Path]:
    paths = [tmp_path / f"{index}.png" for index in range(3)]
    for index, path in enumerate(paths):
        path.write_bytes(Patterns().file(index))
    return paths


def test_every_command_prints_what_it_was_asked(server: FakeTriton, files: list[Path], tmp_path: Path, capsys) -> None:
    url = ["--url", server.url]
    names = [str(path) for path in files[:3]]
    assert main(["classify", *url, "--top-k", "2", *names]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert [line.split(": ")[0] for line in lines] == names
    assert main(["classify", *url, "--json", "--top-k", "1", *names]) == 0
    values = [json.loads(line) for line in capsys.readouterr().out.splitlines()]
    assert [value["image"] for value in values] == names
    assert Prediction(**values[0]["predictions"][0]).label in lines[0]
    output = tmp_path / "out" / "vectors.npy"
    assert main(["embed", *url, "--output", str(output), *names]) == 0
    assert np.load(output).shape == (3, 4096)
    assert sorted(path.name for path in output.parent.iterdir()) == ["vectors.npy", "vectors.npy.jsonl"]
    capsys.readouterr()
    assert main(["health", *url]) == 0
    assert "ready\nmodels: alexnet_int8, alexnet\n" in capsys.readouterr().out
    assert main(["health", *url, "--json", "--infer"]) == 0
    said = json.loads(capsys.readouterr().out)
    assert (said["ready"], said["answered"]) == (True, ["alexnet_int8", "alexnet"])
    server.script(then=Scripted(grpc.StatusCode.INTERNAL, "is not healthy"))
    assert main(["health", *url, "--infer"]) == 3
    assert "answered: none" in capsys.readouterr().out
    server.script()
    assert main(["models", *url]) == 0
    assert [line.split() for line in capsys.readouterr().out.splitlines()] == [
        ["alexnet", "1", "READY"],
        ["alexnet_int8", "1", "READY"],
    ]
    assert main(["models", *url, "--json"]) == 0
    assert json.loads(capsys.readouterr().out.splitlines()[0])["name"] == "alexnet"


def test_metadata_goes_along(server: FakeTriton, files: list[Path], capsys: pytest.CaptureFixture[str]) -> None:
    told = ["--metadata", "alexnet-track=canary", "--metadata", "trace=a=b"]
    assert main(["classify", "--url", server.url, *told, str(files[0])]) == 0
    assert server.metadata[-1].items() >= {"alexnet-track": "canary", "trace": "a=b"}.items()
    assert main(["classify", "--url", server.url, "--metadata", "Track=a", str(files[0])]) == 2
    assert "metadata has the key 'Track'" in capsys.readouterr().err
    with pytest.raises(SystemExit):
        main(["classify", "--metadata", "track", str(files[0])])
    assert "got 'track', want KEY=VALUE" in capsys.readouterr().err


def test_a_bad_image_is_named_and_the_others_are_answered(
    server: FakeTriton, files: list[Path], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    text = tmp_path / "text.png"
    text.write_text("no image")
    assert main(["classify", "--url", server.url, str(files[0]), str(text), "no-such.png", str(files[1])]) == 2
    said = capsys.readouterr()
    assert [line.partition(": ")[0] for line in said.out.splitlines()] == [str(files[0]), str(files[1])]
    bad, missing = said.err.splitlines()
    assert bad.startswith(f"alexnet-client: image 1 ({text}): got 8 bytes that are no JPEG, PNG, WEBP or GIF file")
    assert missing.startswith("alexnet-client: image 2 (no-such.png): ")


def test_a_server_that_does_not_answer_is_an_exit_status_of_its_own(
    server: FakeTriton, files: list[Path], capsys: pytest.CaptureFixture[str]
) -> None:
    server.script(then=Scripted(seconds=60))
    assert main(["classify", "--url", server.url, "--timeout", "1", str(files[0])]) == 4
    assert "did not answer within 1.0 s" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("arguments", "status", "message"),
    [
        (["classify", "no-such.png"], 2, "no-such.png"),
        (["classify", "{text}"], 2, "no JPEG, PNG, WEBP or GIF file"),
        (["classify", "{image}", "--model", "alexnet_int4"], 2, "does not serve 'alexnet_int4'"),
        (["classify", "{image}", "--top-k", "0"], 2, "top_k is 0"),
        (["classify", "{image}", "--timeout", "-1"], 2, "want seconds"),
        (["health", "--url", "127.0.0.1:1"], 3, "no server answers"),
        (["embed", "{image}", "--output", "/proc/forbidden/x.npy"], 1, "/proc/forbidden"),
    ],
)
def test_mistakes_are_one_line_and_an_exit_status(
    server: FakeTriton, files: list[Path], tmp_path: Path, capsys, arguments: list[str], status: int, message: str
) -> None:
    text = tmp_path / "text.png"
    text.write_text("no image")
    filled = [argument.format(text=text, image=files[0]) for argument in arguments]
    if "--url" not in filled:
        filled += ["--url", server.url]
    assert main(filled) == status
    errors = capsys.readouterr().err
    assert message in errors
    assert len(errors.splitlines()) == 1
