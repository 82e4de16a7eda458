"""Embeddings of a folder, in a file: whole, in order, resumed after any end, with a reason for each that has none."""

from __future__ import annotations

import itertools
import json
import os
import shutil
import signal
import subprocess
import sys
from pathlib import Path

import grpc
import numpy as np
import pyarrow.parquet
import pytest

from alexnet_client import AlexNetClient, _bulk
from alexnet_client.__main__ import main
from alexnet_client._bulk import Busy, OtherWork
from tests.fake_triton import FakeTriton, Scripted
from tests.patterns import Patterns
from tests.waiting import wait_until

#: Embedding of a file, as the fake has it, known beforehand.
FILES = 300


@pytest.fixture(scope="module")
def folder(tmp_path_factory) -> Path:
    """Images in folders, and what is none."""
    root = tmp_path_factory.mktemp("images")
    pictures = [Patterns().file(number) for number in range(20)]
    for number in range(FILES):
        path = root / f"{number % 3}" / f"{number:04d}.PNG"
        path.parent.mkdir(exist_ok=True)
        path.write_bytes(pictures[number % 20])
    (root / "0" / "0000.PNG").write_bytes(b"no image")
    (root / "2" / "torn.jpeg").write_bytes(pictures[0][:100])
    (root / "notes.txt").write_text("left out")
    return root


def names(folder: Path) -> list[str]:
    return sorted(path.relative_to(folder).as_posix() for path in folder.rglob("*.[Pj]*"))


def run(server: FakeTriton, folder: Path, output: Path, *more: str) -> int:
    return main(["embed", "--url", server.url, "--input", str(folder), "--output", str(output), *more])


def lines(output: Path) -> list[dict]:
    return [json.loads(line) for line in output.with_name(output.name + ".jsonl").read_text().splitlines()]


@pytest.mark.parametrize("model", ["alexnet", "alexnet_int8"])
def test_every_file_has_a_row_or_a_reason(server: FakeTriton, folder: Path, tmp_path: Path, model, capsys) -> None:
    output = tmp_path / "new" / "vectors.npy"
    assert run(server, folder, output, "--model", model) == 0
    vectors, said = np.load(output), lines(output)
    assert [line["file"] for line in said] == names(folder)
    with AlexNetClient(server.url, model) as client:
        for line in said[1::29]:
            np.testing.assert_array_equal(vectors[line["row"]], client.embed(folder / line["file"])[0])
    assert {line["file"]: line["error"][:12] for line in said if "error" in line} == {
        "0/0000.PNG": "got 8 bytes ",
        "2/torn.jpeg": "got a trunca",
    }
    assert [line["row"] for line in said if "row" in line] == list(range(FILES - 1))
    assert (vectors.dtype, vectors.shape) == (np.float32, (FILES - 1, 4096))
    printed = capsys.readouterr()
    assert f"float32[{FILES - 1}, 4096]" in printed.out
    assert "2 files cannot be used" in printed.err
    assert sorted(path.name for path in output.parent.iterdir()) == ["vectors.npy", "vectors.npy.jsonl"]


def test_parquet_says_the_same(server: FakeTriton, folder: Path, tmp_path: Path, monkeypatch) -> None:
    monkeypatch.setattr(_bulk, "ROWS_A_GROUP", 100)
    assert run(server, folder, tmp_path / "v.npy") == run(server, folder, tmp_path / "v.parquet") == 0
    table = pyarrow.parquet.read_table(tmp_path / "v.parquet")
    vectors = np.stack(table["embedding"].to_numpy())
    np.testing.assert_array_equal(vectors, np.load(tmp_path / "v.npy"))
    assert table["file"].to_pylist() == [line["file"] for line in lines(tmp_path / "v.npy") if "row" in line]
    assert pyarrow.parquet.ParquetFile(tmp_path / "v.parquet").num_row_groups == 3
    assert lines(tmp_path / "v.parquet") == lines(tmp_path / "v.npy")


def test_killed_and_run_again_the_result_is_the_same(server: FakeTriton, folder: Path, tmp_path: Path, capsys) -> None:
    """By SIGKILL, wherever it is; what was done is not done again."""
    whole, output = tmp_path / "whole.npy", tmp_path / "vectors.npy"
    assert run(server, folder, whole) == 0
    server.script(then=Scripted(seconds=0.1))
    arguments = ["embed", "--url", server.url, "--input", str(folder), "--output", str(output), "--in-flight", "1"]
    for rows in (40, 150):
        with subprocess.Popen([sys.executable, "-m", "alexnet_client", *arguments], stderr=subprocess.DEVNULL) as child:
            part = output.with_name("vectors.npy.part") / "vectors.npy"
            wait_until(
                lambda rows=rows, part=part: part.exists() and part.stat().st_size > rows * _bulk.ROW, f"{rows} rows"
            )
            child.send_signal(signal.SIGKILL)
        assert not output.exists()
    before = server.calls["ModelInfer"]
    server.script()
    assert main(arguments) == 0
    assert "files were done before" in capsys.readouterr().out
    assert server.calls["ModelInfer"] - before < FILES / 32
    assert output.read_bytes() == whole.read_bytes()
    assert lines(output) == lines(whole)


@pytest.mark.parametrize("step", ["sync", "rename", "rmtree"])
@pytest.mark.parametrize("suffix", ["npy", "parquet"])
def test_killed_at_its_end_it_is_done_again_without_a_question(
    server: FakeTriton, folder: Path, tmp_path: Path, monkeypatch, suffix: str, step: str
) -> None:
    """With either file in place or both, and the folder there still or not."""
    whole, output = tmp_path / f"whole.{suffix}", tmp_path / f"vectors.{suffix}"
    assert run(server, folder, whole) == 0

    def killed(*_: object, **__: object) -> None:
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        if step == "sync":  # after the vectors, before the journal
            placed, place = [], _bulk._place

            def once(source: Path, target: Path) -> None:
                placed.append(target)
                place(source, target) if len(placed) == 1 and suffix == "npy" else killed()

            patch.setattr(_bulk, "_place", once)
        elif step == "rename":
            patch.setattr(Path, "rename", killed)
        else:
            patch.setattr(_bulk.shutil, "rmtree", lambda path, ignore_errors=False: None if ignore_errors else killed())
        assert run(server, folder, output) == 130
    before = server.calls["ModelInfer"]
    server.version = "7"  # what is whole need not be of the version that is served by now
    assert run(server, folder, output) == 0
    assert (server.calls["ModelInfer"] == before) is (step != "rmtree")
    assert output.read_bytes() == whole.read_bytes()
    assert lines(output) == lines(whole)
    assert not list(tmp_path.glob("*.part"))


def test_what_was_answered_is_out_of_the_process_at_once(server: FakeTriton, folder: Path, tmp_path: Path) -> None:
    """Not in a buffer that a kill takes along."""
    output = tmp_path / "vectors.npy"
    source = _bulk.find(folder)
    with AlexNetClient(server.url) as client, _bulk._Part(tmp_path / "part", _bulk._Work("m", "n")) as part:
        for number, answer in enumerate(itertools.islice(client.stream(source.paths, embed=True), 40), 1):
            part.add(source.names[number - 1], answer)
            assert (tmp_path / "part" / "journal.jsonl").read_bytes().count(b"\n") == number
            assert (tmp_path / "part" / "vectors.npy").stat().st_size == _bulk.HEADER + part.rows * _bulk.ROW
    assert not output.exists()


@pytest.mark.parametrize("suffix", ["npy", "parquet"])
def test_a_name_that_is_no_utf8_is_one_name_among_others(server: FakeTriton, tmp_path: Path, suffix: str) -> None:
    strange = os.fsencode(tmp_path / "images" / "caf") + b"\xe9.png"
    (tmp_path / "images").mkdir()
    Path(os.fsdecode(strange)).write_bytes(Patterns().file(0))
    (tmp_path / "images" / "plain.png").write_bytes(Patterns().file(1))
    output = tmp_path / f"vectors.{suffix}"
    assert run(server, tmp_path / "images", output, "--shard", "0/1") == 0
    assert [os.fsencode(line["file"]) for line in lines(output)] == [b"caf\xe9.png", b"plain.png"]
    if suffix == "parquet":
        assert pyarrow.parquet.read_table(output)["file"].to_pylist() == ["caf\\xe9.png", "plain.png"]


def test_a_full_disk_is_said_with_what_to_do(server: FakeTriton, folder: Path, tmp_path: Path, capsys) -> None:
    with subprocess.Popen(
        [
            *("bash", "-c", 'ulimit -f 200; exec "$@"', "-", sys.executable, "-m", "alexnet_client", "embed"),
            *("--url", server.url, "--input", str(folder), "--output", str(tmp_path / "vectors.npy")),
        ],
        stderr=subprocess.PIPE,
        text=True,
    ) as child:
        _, said = child.communicate()
    assert child.returncode == 1
    assert "free some or write elsewhere" in said.splitlines()[-1]
    assert "Traceback" not in said


@pytest.mark.parametrize("cut", [0, 1, 127, 128, 129, 16_000, 128 + 16_384 * 70 + 5])
def test_what_a_crash_left_of_the_files_is_enough(server: FakeTriton, folder: Path, tmp_path: Path, cut: int) -> None:
    """Rows, or the journal, as short as the disk has them."""
    whole = tmp_path / "whole.npy"
    assert run(server, folder, whole) == 0
    for file, size in (("vectors.npy", cut), ("journal.jsonl", cut // 200)):
        output = tmp_path / f"{file}-{cut}.npy"
        part = output.with_name(output.name + ".part")
        server.script(*[Scripted()] * 4, then=Scripted(grpc.StatusCode.INTERNAL, "broken"))
        assert run(server, folder, output) == 1
        with (part / file).open("r+b") as torn:
            torn.truncate(size)
        server.script()
        assert run(server, folder, output) == 0
        assert output.read_bytes() == whole.read_bytes()
        assert lines(output) == lines(whole)


def test_a_server_that_fails_leaves_what_was_done(server: FakeTriton, folder: Path, tmp_path: Path, capsys) -> None:
    server.script(*[Scripted()] * 3, then=Scripted(grpc.StatusCode.INTERNAL, "broken"))
    output = tmp_path / "vectors.npy"
    assert run(server, folder, output) == 1
    assert "broken" in capsys.readouterr().err.splitlines()[-1]
    assert not output.exists()
    server.script()
    assert run(server, folder, output) == 0
    assert np.load(output).shape == (FILES - 1, 4096)


@pytest.mark.parametrize("what", ["model", "files", "version", "state", "lock"])
def test_two_things_are_never_mixed(server: FakeTriton, folder: Path, tmp_path: Path, what: str, capsys) -> None:
    mine = shutil.copytree(folder, tmp_path / "mine")
    output = tmp_path / "vectors.npy"
    server.script(*[Scripted()] * 3, then=Scripted(grpc.StatusCode.INTERNAL, "broken"))
    assert run(server, mine, output, "--in-flight", "1") == 1
    server.script()
    more: list[str] = []
    wanted = f"begun with other {what}"
    if what == "model":
        more = ["--model", "alexnet_int8"]
    elif what == "files":
        (mine / "0" / "0003.PNG").unlink()
    elif what == "version":
        server.version = "2"
        wanted = "changed from version 1 to 2"
    elif what == "state":
        (tmp_path / "vectors.npy.part" / "state.json").write_text("{")
        wanted = "cannot be read"
    else:
        with _bulk._Part(tmp_path / "vectors.npy.part", _bulk._Work("alexnet", _names(mine))):
            assert run(server, mine, output) == Busy.exit_status == 1
        assert "another process" in capsys.readouterr().err
        return
    assert run(server, mine, output, *more) == OtherWork.exit_status
    line = capsys.readouterr().err.splitlines()[-1]
    assert wanted in line
    assert "remove" in line
    assert not output.exists()


def _names(folder: Path) -> str:
    return _bulk.sha256_of("\0".join(names(folder)))


def test_shards_are_the_whole_and_no_file_is_in_two(folder: Path) -> None:
    shards = [set(_bulk.find(folder, (index, 7)).names) for index in range(7)]
    assert sum(len(shard) for shard in shards) == len(set.union(*shards)) == FILES + 1
    assert set.union(*shards) == set(names(folder))
    assert min(len(shard) for shard in shards) > FILES / 7 / 2


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--output", "v.npy"], "want image files, or --input"),
        (["--output", "v.npy", "--input", "no-such"], "want a folder of image files"),
        (["--output", "v.npy", "--input", "empty"], "empty has no files that end in .gif, "),
        (["--output", "v.csv", "a.png"], "want a name that ends in .npy or .parquet"),
        (["--output", "v.npy", "--input", ".", "--in-flight", "0"], "in_flight is 0"),
        (["--output", "v.npy", "--input", ".", "--shard", "3/3"], "want INDEX/COUNT"),
    ],
)
def test_mistakes_are_one_line(arguments, message, server: FakeTriton, tmp_path: Path, monkeypatch, capsys) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "empty").mkdir()
    (tmp_path / "a.png").write_bytes(Patterns().file(0))
    try:
        assert main(["embed", "--url", server.url, *arguments]) != 0
    except SystemExit as end:
        assert end.code == 2
    assert message in capsys.readouterr().err.splitlines()[-1]
    assert not list(tmp_path.glob("v*"))


def test_a_named_file_that_cannot_be_used_is_an_error(server: FakeTriton, tmp_path: Path) -> None:
    """The others are embedded all the same."""
    good, bad = tmp_path / "good.png", tmp_path / "bad.png"
    good.write_bytes(Patterns().file(0))
    bad.write_bytes(b"no image")
    output = tmp_path / "v.npy"
    assert main(["embed", "--url", server.url, "--output", str(output), str(bad), str(good)]) == 2
    assert np.load(output).shape == (1, 4096)


def test_without_its_library_parquet_is_refused_before_anything(server: FakeTriton, folder: Path, monkeypatch) -> None:
    monkeypatch.setitem(sys.modules, "pyarrow", None)
    assert run(server, folder, folder / "v.parquet") == 2
    assert not server.calls
    assert not list(folder.glob("v*"))
