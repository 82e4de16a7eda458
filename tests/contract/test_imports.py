"""Arrows run deploy -> export -> training -> client, never back, and no import comes round in a circle."""

from __future__ import annotations

import ast
import re
import sys
from collections.abc import Iterator
from graphlib import TopologicalSorter
from importlib.metadata import packages_distributions
from pathlib import Path

import pytest
import tomllib

ROOT = Path(__file__).parents[2]
#: Each may import those after it.
ORDER = ("deploy", "export", "training", "alexnet_client")


def modules() -> dict[str, Path]:
    """Module -> its file, of all four packages."""
    found = {}
    for package in ORDER:
        base = ROOT / "client" if package == "alexnet_client" else ROOT
        for path in (base / package).rglob("*.py"):
            found[".".join(path.relative_to(base).with_suffix("").parts).removesuffix(".__init__")] = path
    return found


def imported(path: Path, known: dict[str, Path], *, late: bool) -> set[str]:
    """The project's modules that a file imports; ``late`` adds those imported inside functions."""
    tree = ast.parse(path.read_text())
    nodes = ast.walk(tree) if late else iter(tree.body)
    names: set[str] = set()
    for node in nodes:
        if isinstance(node, ast.Import):
            names |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom) and node.module:
            names |= {node.module} | {f"{node.module}.{alias.name}" for alias in node.names}
    return {name for name in names if name in known and known[name].name != "__init__.py"}


@pytest.mark.parametrize("package", ORDER)
def test_no_arrow_points_back_up(package: str) -> None:
    known = modules()
    allowed = ORDER[ORDER.index(package) :]
    for name, path in known.items():
        if name.split(".")[0] == package:
            strange = {other for other in imported(path, known, late=True) if other.split(".")[0] not in allowed}
            assert not strange, f"{name} imports {strange}"


def test_there_is_no_circle() -> None:
    known = modules()
    graph = {name: imported(path, known, late=False) for name, path in known.items()}
    assert len(list(TopologicalSorter(graph).static_order())) == len(graph)


def at_run_time(tree: ast.AST) -> Iterator[ast.AST]:
    """As ``ast.walk``, but for what is imported for types only."""
    for node in ast.iter_child_nodes(tree):
        if not (isinstance(node, ast.If) and ast.unparse(node.test) == "TYPE_CHECKING"):
            yield node
            yield from at_run_time(node)


def third_party(tree: ast.AST) -> set[str]:
    """The packages of others that a file imports when it runs."""
    names: set[str] = set()
    for node in at_run_time(tree):
        if isinstance(node, ast.Import):
            names |= {alias.name.split(".")[0] for alias in node.names}
        elif isinstance(node, ast.ImportFrom) and node.module:
            names.add(node.module.split(".")[0])
    return names - sys.stdlib_module_names - set(ORDER)


def test_the_ground_floor_needs_no_other_library_than_it_names() -> None:
    """What every stage imports is quick to import: the standard library, numpy, Pillow, gRPC and tritonclient."""
    ground = {"numpy", "PIL", "grpc", "google", "tritonclient", "alexnet_client"}
    # The last imports what is handed over to it; the others are the command line's alone.
    extras = {
        "alexnet_client._bulk": {"tqdm", "pyarrow"},
        "alexnet_client._completion": {"shtab"},
        "alexnet_client._telemetry": {"prometheus_client", "opentelemetry"},
    }
    for name, path in modules().items():
        if name.startswith("alexnet_client"):
            allowed = ground | extras.get(name, set())
            foreign = third_party(ast.parse(path.read_text())) - allowed
            assert not foreign, f"{name} imports {foreign}"


#: What an image runs -> the extra that it is installed with.
RUN = {
    "deploy.serve.__main__": "",
    "deploy.gateway.__main__": "",
    "deploy.prober.__main__": "",
    "deploy.backends.decoder": "",
    "deploy.backends.onnxruntime.model": "",
    "deploy.backends.tensorrt.model": "engines",
    "deploy.docker.build_engines": "engines",
}


@pytest.mark.parametrize("start", RUN)
def test_an_image_is_installed_with_all_that_it_runs(start: str) -> None:
    """By pyproject.toml, what its modules import wherever an import leads, and nothing of training."""
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    extra = RUN[start]
    required = project["dependencies"] + (project["optional-dependencies"][extra] if extra else [])
    distributions = {re.split(r"[\[<>=]", line)[0] for line in required}
    # Which requirement brings it is the client's affair, or Triton's own.
    brought = {"grpc", "google", "triton_python_backend_utils"}
    known, bringers, ahead, seen = modules(), packages_distributions(), [start], set()
    while ahead:
        name = ahead.pop()
        if name not in seen:
            seen.add(name)
            ahead += imported(known[name], known, late=True)
            for package in third_party(ast.parse(known[name].read_text())) - brought:
                names = {each.lower().replace("_", "-") for each in bringers[package]}
                assert names & distributions, f"{name} imports {package}, which pyproject.toml does not name"
