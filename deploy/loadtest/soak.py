"""Mixed load, with releases under it, for as long as one likes: does anything grow? ``python -m deploy.loadtest soak``.

Growth shows in what stays: every release is another tritonserver, under one supervisor and one door.
"""

from __future__ import annotations

import re
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import astuple, dataclass, fields
from pathlib import Path
from statistics import median

import psutil
from tqdm import tqdm

from deploy.loadtest.checked import CheckedLoad
from deploy.loadtest.releases import copy_twice, make_another
from deploy.serve.installation import ROOT
from deploy.serve.process import ServerError
from deploy.serve.processes import PREFIX, SHARED_MEMORY
from export.publish import switch

#: Every so many questions a bad image: 5 %.
BAD_EVERY = 20
#: Seconds between two samples; the share of them at either end that is compared, after as many of warming up.
INTERVAL, SHARE = 1.0, 0.1


@dataclass(frozen=True, slots=True)
class Sample:
    """What a server has: supervisor, guardian, door, tritonserver and backend processes together."""

    seconds: float
    #: Memory of its own (unique set size), bytes.
    memory: int
    threads: int
    descriptors: int
    processes: int
    #: Bytes below ``/dev/shm``, and of the log.
    shared_memory: int
    log: int


@dataclass(slots=True)
class Soak:
    """What was seen."""

    samples: list[Sample]
    releases: int
    answered: int
    failed: int
    wrong: int
    #: What failures said, and how often.
    said: dict[str, int]

    def growth(self, name: str) -> tuple[float, float]:
        """Median of a figure at the beginning, after warming up, and at the end."""
        values = [getattr(sample, name) for sample in self.samples]
        width = max(1, round(SHARE * len(values)))
        return median(values[width : 2 * width]), median(values[-width:])

    def as_text(self) -> str:
        """A table, and what became of the requests."""
        lines = [f"{'':16}{'begin':>14}{'end':>14}{'growth':>9}"]
        for field in fields(Sample)[1:]:
            begin, end = self.growth(field.name)
            growth = f"{end / begin - 1:+.1%}" if begin else ""
            lines.append(f"{field.name:16}{begin:14,.0f}{end:14,.0f}{growth:>9}")
        lines.append(
            f"{self.samples[-1].seconds / 60:.0f} min, {self.releases} releases, {self.answered} answered, "
            f"{self.failed} failed, {self.wrong} wrong"
        )
        lines += [f"  {count} x {text}" for text, count in self.said.items()]
        return "\n".join(lines)

    def as_csv(self) -> str:
        """Every sample."""
        rows = [",".join(field.name for field in fields(Sample))]
        return "\n".join(rows + [",".join(f"{value:g}" for value in astuple(sample)) for sample in self.samples]) + "\n"


def soak(repository: Path, minutes: float, releases: int) -> Soak:
    """Serve a copy of a published repository under checked load, 5 % of it bad images.

    Args:
        releases: that go live meanwhile, evenly spread.

    Raises:
        alexnet_client.AlexNetError: there is no such repository, or the server does not start.
    """
    with tempfile.TemporaryDirectory() as name:
        copy, both = copy_twice(repository, Path(name))
        make_another(both[1])
        with _served(copy, Path(name)) as (process, url), CheckedLoad(url, both, bad_every=BAD_EVERY) as load:
            samples = _watch(process, Path(name) / "work", minutes * 60, releases, copy, both)
            return Soak(samples, releases, load.answered, load.failed, load.wrong, dict(load.said))


def _watch(
    process: psutil.Process, work: Path, seconds: float, releases: int, link: Path, both: Sequence[Path]
) -> list[Sample]:
    samples: list[Sample] = []
    started, done = time.monotonic(), 0
    with tqdm(total=round(seconds), desc="soak", unit="s", file=sys.stderr) as bar:
        while (passed := time.monotonic() - started) < seconds:
            if passed > (done + 1) * seconds / (releases + 1):
                done += 1
                switch(link, both[done % 2])
            samples.append(_sample(process, work, passed))
            bar.update(round(passed) - bar.n)
            time.sleep(INTERVAL)
    return samples


def _sample(process: psutil.Process, work: Path, seconds: float) -> Sample:
    memory = threads = descriptors = count = 0
    for each in (process, *process.children(recursive=True)):
        with suppress(psutil.Error):
            memory += each.memory_full_info().uss
            threads += each.num_threads()
            descriptors += each.num_fds()
            count += 1
    shared = 0
    for region in SHARED_MEMORY.glob(f"{PREFIX}{process.pid}-*"):
        with suppress(OSError):
            shared += region.stat().st_size
    log = sum(path.stat().st_size for path in work.glob("*.log*"))
    return Sample(seconds, memory, threads, descriptors, count, shared, log)


@contextmanager
def _served(repository: Path, folder: Path) -> Iterator[tuple[psutil.Process, str]]:
    """The command itself, in a process of its own."""
    command = [sys.executable, "-m", "deploy.serve", "--repository", str(repository), "--free-ports"]
    command += ["--work", str(folder / "work")]
    with subprocess.Popen(command, cwd=ROOT, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True) as server:
        try:
            url = None
            for line in server.stdout or ():
                if found := re.match(r"\s*gRPC\s+(\S+:\d+)", line):
                    url = found[1]
                if line.startswith("  refused"):
                    raise ServerError(f"nothing is soaked that is not served:\n{line}")
                if line.startswith("Ctrl-C"):
                    break
            if url is None:
                raise ServerError(f"the server does not start: run {' '.join(command)}")
            yield psutil.Process(server.pid), url
        finally:
            server.terminate()
