"""What a server loads of a release: for a model with engines, the plan of this GPU, or the graph to fall back on.

The choice is a folder of links, the *view*, that any tritonserver can be pointed at: what lies there is what serves,
and nothing else. Its folders are its own, so that the byte code which Python writes beside a model does not get into
the release.
"""

from __future__ import annotations

import logging
import subprocess
import sys
from dataclasses import dataclass, field
from pathlib import Path

from alexnet_client.files import new_folder
from deploy.serve.repository import Checked
from export.artefacts import artefact, manifest
from export.engines.gpu import Gpu, installed
from export.engines.plans import fitting, unfit
from export.engines.provider import find
from export.proof import golden
from export.proof.proof import Verdict
from export.release import CONFIG, without_engines

log = logging.getLogger("deploy.serve")


@dataclass(frozen=True, slots=True)
class Selected:
    """What is served of a release."""

    #: Those in the view.
    models: tuple[str, ...] = ()
    #: Model -> why its graph serves in an engine's place.
    fallbacks: dict[str, str] = field(default_factory=dict)
    #: Model -> why it is not served.
    refused: dict[str, str] = field(default_factory=dict)


def select(checked: Checked, view: Path, proofs: Path, gpu: Gpu | None = None) -> Selected:
    """Choose for every model, prove engines that were never on this GPU, and lay the choice out.

    Args:
        view: the folder to make, as Triton reads it.
        proofs: where verdicts of engines are kept.
        gpu: the device to choose for; this machine's by default.
    """
    gpu = gpu or installed()
    fallbacks: dict[str, str] = {}
    refused: dict[str, str] = {}
    for model in checked.models:
        record = manifest.read(_version(checked.release / model))
        reason = unfit(record, gpu) or _prove(checked.release, record, gpu, proofs)
        if reason is not None:
            if record.fallback:
                fallbacks[model] = reason
            else:
                refused[model] = f"{reason}; published with --fallback, its graph would serve"
    chosen = tuple(model for model in checked.models if model not in refused)
    with new_folder(view) as partial:
        for model in chosen:
            if model in fallbacks:
                _link_graph(checked.release / model, partial / model)
            else:
                _link_files(checked.release / model, partial / model)
    return Selected(chosen, fallbacks, refused)


def _prove(release: Path, record: manifest.Manifest, gpu: Gpu | None, folder: Path) -> str | None:
    """Why an engine may not serve; None when it is proved on this GPU.

    It runs in a process of its own: CUDA stays out of this one.
    """
    plan = fitting(record, gpu)
    if plan is None or gpu is None or plan.proof.passed:
        return None
    command = [sys.executable, "-m", "export", "prove", "--repository", str(release), "--proofs", str(folder)]
    done = subprocess.run(command, capture_output=True, text=True, check=False, cwd=Path(__file__).resolve().parents[2])
    log.info("%s", done.stdout.strip())
    verdict = golden.Proofs(folder).find(plan.sha256, gpu, find(plan.provider).version)
    if verdict == Verdict.PASSED:
        return None
    said = verdict or done.stdout.strip() or done.stderr.strip()
    return f"{record.model}'s engine did not pass the golden batch on {gpu}: {said}"


def _link_files(source: Path, target: Path) -> None:
    for path in source.rglob("*"):
        if path.is_file():
            link = target / path.relative_to(source)
            link.parent.mkdir(parents=True, exist_ok=True)
            link.symlink_to(path)


def _link_graph(source: Path, target: Path) -> None:
    version = _version(source)
    (target / version.name).mkdir(parents=True)
    (target / CONFIG).write_text(without_engines((source / CONFIG).read_text()))
    (target / artefact.LABELS_FILE).symlink_to(source / artefact.LABELS_FILE)
    (target / version.name / artefact.MODEL_FILE).symlink_to(version / artefact.MODEL_FILE)


def _version(model: Path) -> Path:
    return max((path for path in model.iterdir() if path.name.isdigit()), key=lambda path: int(path.name))
