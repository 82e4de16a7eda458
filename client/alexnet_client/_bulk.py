"""Embeddings of any number of files, in a file: ``alexnet-client embed``.

Beside ``vectors.npy`` lies ``vectors.npy.jsonl``, a line a file in the same order: ``{"file": ..., "row": ...}``, or
``{"file": ..., "error": ...}`` of one that cannot be used. Until they are whole both lie in ``vectors.npy.part/``, and
the same command goes on from there: rows are written before the lines that speak of them.
"""

from __future__ import annotations

import fcntl
import json
import os
import shutil
import sys
from collections.abc import Iterator, Sequence
from contextlib import ExitStack
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import IO, Any

import numpy as np
from tqdm import tqdm

from alexnet_client import _core
from alexnet_client._client import AlexNetClient
from alexnet_client._errors import InvalidRequest
from alexnet_client._results import Answer
from alexnet_client.contract import EMBEDDING, IMAGE_FORMATS
from alexnet_client.errors import AlexNetError, FileError
from alexnet_client.files import atomic_path, file_errors, sha256_of, sync

#: Names of files that are taken from a folder.
SUFFIXES = frozenset({f".{name.lower()}" for name in IMAGE_FORMATS} | {".jpg", ".jpe", ".jfif"})
NPY, PARQUET = ".npy", ".parquet"
#: Bytes before the first row, and of a row. 128 is what numpy's own header of such an array has (NEP 1, version 1.0).
HEADER, ROW = 128, 4 * EMBEDDING.shape[0]
#: Files after which what was written is flushed to disk, and a group of Parquet's.
FLUSH_EVERY, ROWS_A_GROUP = 2048, 1024


class OtherWork(AlexNetError):
    """What lies beside the output was begun with something else; going on would mix the two."""

    exit_status = 2


class Busy(AlexNetError):
    """Another process writes the output: to be tried again, as a Job does whose predecessor still ends."""


@dataclass(frozen=True)
class Source:
    """Files to embed."""

    #: What their names are relative to.
    folder: Path
    names: Sequence[str]

    @property
    def paths(self) -> Iterator[Path]:
        """Each of them."""
        return (self.folder / name for name in self.names)


@dataclass(frozen=True)
class Summary:
    """What came of it."""

    rows: int
    failed: int
    #: Files that an earlier run had done.
    resumed: int


@dataclass(frozen=True)
class _Work:
    """What is being done: the same again goes on, anything else does not."""

    model: str
    #: Hash of all names.
    names: str
    #: Of the model; empty before the first answer.
    version: str = ""


def find(folder: Path, shard: tuple[int, int] = (0, 1)) -> Source:
    """Image files in a folder and below it, by the sorted names.

    Args:
        shard: which of how many parts; a file is in the one that its name says, whatever else there is.

    Raises:
        FileError: there is no such folder.
        InvalidRequest: it has no image files.
    """
    with file_errors(folder):
        if not folder.is_dir():
            raise FileError(f"{folder}: want a folder of image files")
        found = (
            Path(root, name).relative_to(folder).as_posix()
            for root, _, names in os.walk(folder)
            for name in names
            if Path(name).suffix.lower() in SUFFIXES
        )
        index, count = shard
        names = sorted(name for name in found if count == 1 or _part_of(name, count) == index)
    if not names and count == 1:
        raise InvalidRequest(f"{folder} has no files that end in {', '.join(sorted(SUFFIXES))}")
    return Source(folder, names)


def embed(client: AlexNetClient, source: Source, output: Path, in_flight: int) -> Summary:
    """Ask for the embedding of each file and write ``output``; go on where an earlier run ended.

    Args:
        output: ``.npy``, ``float32[N, 4096]``; or ``.parquet``, columns ``file`` and ``embedding``.

    Raises:
        RequestError: the server does not answer; what was done stays.
        OtherWork: the files, the model or its version are others than at the beginning.
        Busy: another process writes it.
        FileError: a file cannot be written.
        InvalidRequest: ``output`` has another suffix, or Parquet's library is missing.
    """
    if output.suffix not in (NPY, PARQUET):
        raise InvalidRequest(f"output is {str(output)!r}: want a name that ends in {NPY} or {PARQUET}")
    if output.suffix == PARQUET:
        _parquet()
    _core.in_flight(in_flight)
    work = _Work(client.model, sha256_of(os.fsencode("\0".join(source.names))))
    with _Part(output.with_name(f"{output.name}.part"), work) as part:
        resumed = part.done
        rest = Source(source.folder, source.names[resumed:])
        with tqdm(total=len(source.names), initial=resumed, desc="embed", unit="file", file=sys.stderr) as bar:
            answers = client.stream(rest.paths, embed=True, in_flight=in_flight)
            for name, answer in zip(rest.names, answers, strict=True):
                part.add(name, answer)
                bar.update()
        part.finish(output)
        return Summary(part.rows, part.done - part.rows, resumed)


class _Part:
    """What is there so far, one process's alone while the ``with`` block runs."""

    def __init__(self, folder: Path, work: _Work) -> None:
        self._folder, self._work = folder, work
        self._state = folder / "state.json"
        self.done = self.rows = 0

    def __enter__(self) -> _Part:
        with file_errors(self._folder):
            self._folder.mkdir(parents=True, exist_ok=True)
            self._lock = (self._folder / "lock").open("w")
            try:
                fcntl.flock(self._lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError as error:
                self._lock.close()
                raise Busy(f"another process is writing {self._folder}: let it end, or end it") from error
            try:
                self._claim()
                self._vectors = self._open("vectors.npy")
                self._journal = self._open("journal.jsonl")
                self._recover()
            except BaseException:
                self._lock.close()
                raise
        return self

    def __exit__(self, *_: object) -> None:
        with file_errors(self._folder), ExitStack() as stack:
            for file in (self._lock, self._journal, self._vectors):
                stack.callback(file.close)

    def add(self, name: str, answer: Answer) -> None:
        """Write what became of one file."""
        with file_errors(self._folder):
            line: dict[str, Any] = {"file": name}
            if answer.error is not None:
                line["error"] = next(iter(answer.error.images.values()))
            else:
                self._same_version(answer.version)
                assert answer.embedding is not None
                self._vectors.write(answer.embedding.tobytes())
                line["row"] = self.rows
                self.rows += 1
            self._vectors.flush()  # out of this process, whose end may come at any moment
            self._journal.write(json.dumps(line).encode() + b"\n")
            self._journal.flush()
            self.done += 1
            if self.done % FLUSH_EVERY == 0:
                self._flush()

    def finish(self, output: Path) -> None:
        """Put both files in place; the folder goes, in one step, so that until then all of this can be done again."""
        with file_errors(output):
            self._vectors.seek(0)
            self._vectors.write(_header(self.rows))
            self._flush()
            vectors, journal = Path(self._vectors.name), Path(self._journal.name)
            if output.suffix == PARQUET:
                _write_parquet(vectors, journal, output)
            else:
                _place(vectors, output)
            _place(journal, output.with_name(f"{output.name}.jsonl"))
            over = self._folder.with_name(f".{self._folder.name}.over")
            shutil.rmtree(over, ignore_errors=True)
            self._folder.rename(over)
            sync(output.parent)
            shutil.rmtree(over)

    def _claim(self) -> None:
        if not self._state.exists():
            self._write_state()
            return
        try:
            was = _Work(**json.loads(self._state.read_text()))
        except (ValueError, TypeError) as error:
            raise OtherWork(f"{self._state} cannot be read ({error}): remove {self._folder} to begin anew") from error
        for what, before, now in (
            ("model", was.model, self._work.model),
            ("files", was.names[:12], self._work.names[:12]),
        ):
            if before != now:
                raise OtherWork(
                    f"{self._folder} was begun with other {what} ({before}, now {now}): "
                    "give the same again to go on, or remove it to begin anew"
                )
        self._work = was

    def _same_version(self, version: str) -> None:
        if not self._work.version:
            self._work = _Work(self._work.model, self._work.names, version)
            self._write_state()
        elif self._work.version != version:
            raise OtherWork(
                f"{self._work.model} changed from version {self._work.version} to {version} after {self.rows} vectors: "
                f"vectors of two are not comparable; remove {self._folder} to begin anew"
            )

    def _write_state(self) -> None:
        with atomic_path(self._state) as partial:
            partial.write_text(json.dumps(asdict(self._work)))

    def _open(self, name: str) -> IO[bytes]:
        path = self._folder / name
        path.touch()
        return path.open("r+b")

    def _recover(self) -> None:
        """Count what is whole, and cut off what is not: the last line, or lines whose rows did not reach the disk."""
        have = max(0, (os.fstat(self._vectors.fileno()).st_size - HEADER) // ROW)
        whole = 0
        for line in self._journal:
            row = "row" in json.loads(line) if line.endswith(b"\n") else False
            if not line.endswith(b"\n") or self.rows + row > have:
                break
            self.rows, self.done, whole = self.rows + row, self.done + 1, whole + len(line)
        self._journal.seek(whole)
        self._journal.truncate()
        self._vectors.truncate(HEADER + self.rows * ROW)
        self._vectors.seek(0, os.SEEK_END)

    def _flush(self) -> None:
        for file in (self._vectors, self._journal):
            file.flush()
            os.fsync(file.fileno())


def _part_of(name: str, count: int) -> int:
    return int(sha256_of(os.fsencode(name))[:8], 16) % count


def _place(source: Path, target: Path) -> None:
    """Have a file under another name as well."""
    with atomic_path(target) as partial:
        try:
            os.link(source, partial)
        except OSError:  # a file system without links
            shutil.copyfile(source, partial)


def _text(name: str) -> str:
    """A file's name, which is bytes, as text: what is no UTF-8 in it is written out, as ``\\xe9``."""
    return os.fsencode(name).decode(errors="backslashreplace")


def _header(rows: int) -> bytes:
    """Numpy's, of ``float32[rows, 4096]``, always as long."""
    fields = {"descr": "<f4", "fortran_order": False, "shape": (rows, *EMBEDDING.shape)}
    text = repr(fields).encode("latin1")
    length = HEADER - 10
    return b"\x93NUMPY\x01\x00" + length.to_bytes(2, "little") + text.ljust(length - 1) + b"\n"


def _parquet() -> Any:
    try:
        import pyarrow  # noqa: PLC0415  an extra
        import pyarrow.parquet  # noqa: PLC0415
    except ImportError as error:
        raise InvalidRequest(
            f"a {PARQUET} file needs pyarrow: pip install 'alexnet-client[parquet]', or write {NPY}"
        ) from error
    return pyarrow


def _write_parquet(vectors: Path, journal: Path, output: Path) -> None:
    arrow = _parquet()
    rows = np.load(vectors, mmap_mode="r")
    schema = arrow.schema([("file", arrow.string()), ("embedding", arrow.list_(arrow.float32(), EMBEDDING.shape[0]))])
    with atomic_path(output) as partial, arrow.parquet.ParquetWriter(partial, schema) as writer:
        for first, names in _groups(journal):
            flat = arrow.array(np.asarray(rows[first : first + len(names)]).reshape(-1))
            values = arrow.FixedSizeListArray.from_arrays(flat, EMBEDDING.shape[0])
            writer.write_table(arrow.table([arrow.array(names, arrow.string()), values], schema=schema))


def _groups(journal: Path) -> Iterator[tuple[int, list[str]]]:
    """First row and names, of as many rows as are written together."""
    first, names = 0, []
    with journal.open() as lines:
        for line in map(json.loads, lines):
            if "row" in line:
                names.append(_text(line["file"]))
            if len(names) == ROWS_A_GROUP:
                yield first, names
                first, names = first + len(names), []
    yield first, names
