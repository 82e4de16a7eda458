"""What a release must answer: the golden batch that it carries, and what its proof allows."""

from __future__ import annotations

import io
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from alexnet_client.contract import IMAGE_SIDE, PRECISION_MODELS, RESIZE_SIDE
from alexnet_client.files import sha256
from alexnet_client.outputs import Outputs
from export.artefacts import artefact, manifest
from export.artefacts.manifest import Manifest, ManifestError
from export.proof import golden
from export.proof.golden import Population
from export.proof.limits import limits
from export.proof.proof import Limits

#: Of one image, where its precision has no limit. Proved INT8 graphs were up to 0.16 from FP32 over 10,000 images. On
#: the golden ones their embeddings' cosine was at least 0.997, where another image's embedding has at most 0.92.
FAR, ALIKE = 0.25, 0.99
#: Around a golden image, so that preprocessing cuts it out again as it is.
_MARGIN = (RESIZE_SIDE - IMAGE_SIDE) // 2


@dataclass(frozen=True, slots=True)
class Expected:
    """Golden images and their right answers."""

    #: Whose answers they are: ``alexnet_int8``...
    network: str
    #: The release's number; empty for whatever is served.
    release: str
    #: SHA-256 of the network's manifest.
    manifest: str
    #: Each a PNG file whose pixels reach the network as they are.
    files: tuple[bytes, ...]
    outputs: Outputs
    #: Of the classes.
    labels: tuple[str, ...]
    #: For the answer to one image.
    limits: Limits
    #: What the artefact answered over the whole split of its proof.
    population: Population


def of_release(repository: Path, model: str, release: str = "") -> Expected:
    """What a model of a published repository must answer.

    Args:
        release: its number, as an answer has it; by default the one that is published.

    Raises:
        ManifestError: there is no such release or model, or it has no golden batch, or a file was changed.
        FileError: a file cannot be read.
    """
    folder = repository.resolve()
    published = _number(folder / model)
    if release not in ("", published):
        folder = folder.with_name(release)
    number = release or published
    needs = [name for name in manifest.read(folder / model / number).needs if name in PRECISION_MODELS]
    network = needs[0] if needs else model
    return _read(folder / network, folder / network / number, release=number)


def _number(model: Path) -> str:
    """Of a model's release: of its one version, as the folder around it may have been copied to another name."""
    found = [path.name for path in model.glob("[0-9]*")]
    if len(found) != 1:
        raise manifest.ManifestError(f"{model} has {len(found)} versions: want the one that publish wrote")
    return found[0]


def of_artefact(folder: Path) -> Expected:
    """What an artefact must answer, whatever the release that serves it.

    Raises:
        ManifestError, FileError: as :func:`of_release`.
    """
    return _read(folder, folder, release="")


def _read(root: Path, folder: Path, release: str) -> Expected:
    record = manifest.read(folder)
    path, labels = folder / artefact.GOLDEN_FILE, root / artefact.LABELS_FILE
    for each in (path, labels):
        _check(record, root, each)
    images, outputs = golden.read(path)
    kept = limits(record)
    return Expected(
        network=record.model,
        release=release,
        manifest=sha256(folder / manifest.FILE_NAME),
        files=tuple(map(as_file, images)),
        outputs=outputs,
        labels=tuple(artefact.read_labels(root)),
        limits=Limits(max_abs_dp=kept.max_abs_dp or FAR, cosine=kept.cosine or ALIKE),
        population=golden.read_population(path),
    )


def _check(record: Manifest, root: Path, path: Path) -> None:
    wanted = record.files.get(str(path.relative_to(root)))
    if wanted is None:
        raise ManifestError(f"{root} has no {path.name} to probe by: verify its graph and publish it again")
    if not path.is_file() or sha256(path) != wanted:
        raise ManifestError(f"{path} is missing or was changed after it was published: publish {record.model} again")


def as_file(pixels: NDArray[np.uint8]) -> bytes:
    """A PNG file that preprocessing makes exactly these ``uint8[224, 224, 3]`` of."""
    margins = (_MARGIN, _MARGIN)
    file = io.BytesIO()
    Image.fromarray(np.pad(pixels, (margins, margins, (0, 0)), mode="edge")).save(file, "PNG")
    return file.getvalue()
