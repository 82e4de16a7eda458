"""What a container image has, as far as Python can tell: what its recipe does not install cannot be imported."""

from __future__ import annotations

import re
from contextlib import suppress
from importlib.metadata import PackageNotFoundError, packages_distributions, requires
from pathlib import Path

import tomllib
from packaging.markers import Marker
from packaging.requirements import InvalidRequirement, Requirement
from packaging.utils import canonicalize_name

from tests.conftest import ROOT

#: Folders that a recipe copies; and what is here otherwise than there: an editable package, and what measures tests.
_OURS, _TESTS_OWN = {"deploy", "export", "training"}, {"alexnet_client", "coverage"}
#: For Python's own hook of that name, which runs before anything else.
_HOOK = """
import sys

class Missing:
    def find_spec(self, name, path=None, target=None):
        if name.partition(".")[0] in {missing!r}:
            raise ModuleNotFoundError("the image has no " + name, name=name)

sys.meta_path.insert(0, Missing())
"""


def only_what_it_has(recipe: str, folder: Path) -> str:
    """A ``PYTHONPATH`` with which Python imports what an image has, and the checkout.

    Args:
        recipe: a Dockerfile of ``deploy/docker``.
        folder: for a file.
    """
    here = ROOT / "deploy" / "docker"
    text = (here / recipe).read_text()
    if "RUN bash deploy/docker/install.sh" in text:
        text += (here / "install.sh").read_text()
    has = _with_their_own(_installed(text))
    theirs = {
        name for name, owners in packages_distributions().items() if has.isdisjoint(map(canonicalize_name, owners))
    }
    copied = {line.split()[1] for line in text.splitlines() if line.startswith("COPY ")}
    missing = theirs - _OURS - _TESTS_OWN | (_OURS - copied)
    (folder / "sitecustomize.py").write_text(_HOOK.format(missing=missing))
    return f"{folder}:{ROOT}:{ROOT / 'client'}"


def _installed(text: str) -> list[Requirement]:
    """Packages that ``pip install`` is told; of this checkout, what pyproject.toml says."""
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    lines = re.findall(r"pip install (.+)", text.replace("\\\n", " "))
    found = []
    for word in " ".join(line.partition("&&")[0] for line in lines).replace("./client", "alexnet-client").split():
        if checkout := re.fullmatch(r"\.(?:\[(\w+)\])?", word.strip("'")):
            extra = project["optional-dependencies"][checkout[1]] if checkout[1] else []
            found += map(Requirement, project["dependencies"] + extra)
            continue
        with suppress(InvalidRequirement):  # an option
            found.append(Requirement(word.strip('"')))
    return found


def _with_their_own(left: list[Requirement]) -> set[str]:
    """Their names, and those of what they require, by the metadata of what is installed here."""
    found: set[str] = set()
    while left:
        wanted = left.pop()
        name = canonicalize_name(wanted.name)
        if name not in found:
            found.add(name)
            with suppress(PackageNotFoundError):  # an option's value
                needs = [Requirement(line) for line in requires(name) or []]
                left += [need for need in needs if not need.marker or _any(need.marker, wanted.extras or {""})]
    return found


def _any(marker: Marker, extras: set[str]) -> bool:
    return any(marker.evaluate({"extra": extra}) for extra in extras)
