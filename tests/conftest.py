"""What all tests share: real images, and the pipeline run once on a handful of them, by its own commands."""

from __future__ import annotations

import importlib
import io
import os
import shutil
import subprocess
import sys
import warnings
from collections.abc import Callable, Iterator
from contextlib import chdir, redirect_stderr, redirect_stdout
from dataclasses import dataclass
from pathlib import Path

import pytest
from filelock import FileLock

from deploy.serve.server import LocalServer
from export.publish import publish
from training.data.fashion_mnist import FashionMnist, fetch
from training.data.image_set import ImageSet

ROOT = Path(__file__).parents[1]
#: Images a class.
TRAINING, TESTING = 105, 20


def environment() -> dict[str, str]:
    """In which a process started anywhere finds the checkout."""
    return {**os.environ, "PYTHONPATH": os.pathsep.join((str(ROOT), str(ROOT / "client")))}


def python(*arguments: object, status: int = 0, cwd: Path = ROOT) -> subprocess.CompletedProcess[str]:
    """Run ``python -m ...`` in the checkout, and check its exit status."""
    command = [sys.executable, "-m", *map(str, arguments)]
    done = subprocess.run(command, cwd=cwd, env=environment(), capture_output=True, text=True, check=False, timeout=600)
    assert done.returncode == status, f"{command} ended with {done.returncode}:\n{done.stdout}\n{done.stderr}"
    return done


def command(module: str, *arguments: object, status: int = 0, cwd: Path = ROOT) -> subprocess.CompletedProcess[str]:
    """As :func:`python`, in this process, which has torch imported already: seconds less a command."""
    out, err = io.StringIO(), io.StringIO()
    with chdir(cwd), redirect_stdout(out), redirect_stderr(err), warnings.catch_warnings():
        warnings.resetwarnings()  # a command's process has no pytest that makes errors of them
        try:
            got = importlib.import_module(f"{module}.__main__").main(list(map(str, arguments)))
        except SystemExit as end:  # argparse
            got = int(end.code or 0)
    assert got == status, f"{module} {arguments} ended with {got}:\n{out.getvalue()}\n{err.getvalue()}"
    return subprocess.CompletedProcess([module], got, out.getvalue(), err.getvalue())


#: Three processes test side by side, file by file, on two cores: much is waiting for servers. First come what takes
#: longest and what does not need the demo's files, so that nobody waits for them; what is not named comes at the dots.
ORDER = (
    "test_image.py",
    "test_engines.py",
    "test_public_weights.py",
    "test_own_pictures.py",
    "test_resume.py",
    "test_bench.py",
    "...",
    "test_gateway.py",
    "test_observability.py",
    "test_precisions.py",
    "test_supervisor.py",
    "test_releases.py",
    "test_failing_server.py",
    "test_export.py",
    "test_client.py",
    "test_server.py",
    "test_demo.py",
)


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Sort the files as :data:`ORDER` says."""
    places = {name: place for place, name in enumerate(ORDER)}
    between = places["..."]  # and all unit tests, some of whose files have the same names
    items.sort(key=lambda item: places.get(item.path.name, between) if "integration" in item.path.parts else between)


def once(factory: pytest.TempPathFactory, name: str, make: Callable[[Path], None]) -> Path:
    """A folder that is made once a run, by the first process that needs it; the others wait until it is whole."""
    base = factory.getbasetemp()
    if "PYTEST_XDIST_WORKER" in os.environ:
        base = base.parent
    folder, done = base / name, base / f"{name}.done"
    with FileLock(base / f"{name}.lock"):
        if not done.exists():
            folder.mkdir()
            make(folder)
            done.touch()
    return folder


@pytest.fixture(scope="session")
def fashion_mnist(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The real data set, fetched once a checkout."""
    folder = ROOT / "build" / "fashion-mnist"
    once(tmp_path_factory, "fetched", lambda _: fetch(folder))
    return folder


@pytest.fixture(scope="session")
def images(fashion_mnist: Path) -> ImageSet:
    """The test split of Fashion-MNIST."""
    return FashionMnist(fashion_mnist, "test")


@pytest.fixture(scope="session")
def folder(fashion_mnist: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Some of Fashion-MNIST as an image folder, ``split/class/*.png``."""

    def make(root: Path) -> None:
        for split, count in (("train", TRAINING), ("test", TESTING)):
            images = FashionMnist(fashion_mnist, split)
            for number, label in enumerate(images.labels):
                target = root / split / label.replace("/", " or ")
                target.mkdir(parents=True)
                for index in (images.targets == number).nonzero()[0][:count]:
                    (target / f"{index:05d}.png").write_bytes(images.file(int(index)))

    return once(tmp_path_factory, "image-folder", make)


@dataclass(frozen=True)
class Built:
    """What the pipeline wrote."""

    data: Path
    #: Where the demo ran, and what it printed.
    root: Path
    output: str
    checkpoint: Path
    artefacts: Path
    predictions: Path
    repository: Path


@pytest.fixture(scope="session")
def built(folder: Path, tmp_path_factory: pytest.TempPathFactory) -> Built:
    """A small AlexNet, trained, exported, proved, published and served by the demo, on a handful of images."""

    def make(root: Path) -> None:
        downloads = ROOT / "build" / "downloads"
        downloads.mkdir(exist_ok=True)
        (root / "build").mkdir()
        (root / "build" / "downloads").symlink_to(downloads)
        done = python("deploy.demo", "--recipe", "smoke", "--data", folder, cwd=root)
        (root / "demo.txt").write_text(done.stdout)

    root = once(tmp_path_factory, "demo", make)
    parts = ("checkpoint", "artefacts", "predictions", "repository")
    return Built(folder, root, (root / "demo.txt").read_text(), *(root / "build" / part for part in parts))


@pytest.fixture(scope="session")
def engines(built: Built, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Where ``make engines`` ran after the demo: ``build/`` as it left it, and what it printed in ``engines.txt``."""

    def make(root: Path) -> None:
        # Files are only ever replaced, never written into: links are as good as copies.
        shutil.copytree(built.root, root, symlinks=True, copy_function=os.link, dirs_exist_ok=True)
        done = python("deploy.demo.engines", "--recipe", "smoke", "--data", built.data, cwd=root)
        (root / "engines.txt").write_text(done.stdout)

    return once(tmp_path_factory, "engines", make)


@pytest.fixture(scope="session")
def int8_repository(built: Built, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """INT8 and the ensemble alone: a server of it starts in half the time. Not to be changed."""

    def make(folder: Path) -> None:
        publish(folder / "repository", [built.artefacts / "int8-cpu"], "int8")

    return once(tmp_path_factory, "int8", make) / "repository"


@pytest.fixture(scope="session")
def server(built: Built, tmp_path_factory: pytest.TempPathFactory) -> Iterator[LocalServer]:
    """A real tritonserver on the published repository."""
    with LocalServer(
        built.repository, use_free_ports=True, http=True, work=tmp_path_factory.mktemp("triton")
    ) as running:
        yield running
