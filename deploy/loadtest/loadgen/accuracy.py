"""Accuracy mode: every image of the test split through LoadGen and the server, against what was proved offline."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from alexnet_client import TLS
from alexnet_client.contract import PRECISION_MODELS
from deploy.loadtest import load
from deploy.loadtest.loadgen import process
from deploy.loadtest.loadgen.logs import read_classes
from deploy.loadtest.loadgen.samples import Split
from deploy.loadtest.loadgen.settings import OFFLINE, SERVER, Settings
from deploy.loadtest.loadtest_error import LoadTestError
from export.artefacts import artefact, manifest
from export.proof.proof import Proof
from training.data.image_set import ImageSet
from training.data.labels import labelled_as
from training.data.open import open_labelled

#: Of what one request alone allows: Server's rate, where none is given; accuracy is not in a hurry.
LEISURE = 0.5


@dataclass(frozen=True, slots=True)
class Accuracy:
    """Images whose most probable class is right, of all of a split."""

    model: str
    scenario: str
    images: int
    #: Through LoadGen and the server, and offline, when the published graph was proved.
    served: int
    proved: int

    @property
    def same(self) -> bool:
        """Whether serving changes nothing."""
        return self.served == self.proved

    def __str__(self) -> str:
        served, proved = (f"{100 * right / self.images:.2f} % ({right})" for right in (self.served, self.proved))
        return (
            f"LoadGen-driven, {self.model}, {self.scenario}, accuracy over {self.images} images: "
            f"top-1 served {served}, proved offline {proved}: {'equal' if self.same else 'NOT EQUAL'}"
        )


def measure_accuracy(
    url: str,
    model: str,
    repository: Path,
    data: Path,
    logs: Path,
    scenario: str = OFFLINE,
    rate: float | None = None,
    tls: TLS | None = None,
) -> Accuracy:
    """Every image of the test split once, in LoadGen's accuracy mode.

    Args:
        url: of a server of ``repository``.
        data: the data set that the repository's graphs were proved on.
        logs: folder for a folder of LoadGen's files.
        rate: Server's queries a second; None is an easy one.
        tls: who the server must be; None is plain text.

    Raises:
        LoadTestError: nothing was proved on this data, images have no answer, or the server has another release.
        alexnet_client.AlexNetError: the server does not answer, or a file cannot be used.
    """
    version, proof = proved(repository, model)
    images = labelled_as(open_labelled(data, "test"), artefact.read_labels(repository / model), repository)
    right = _right_offline(model, proof, images)
    split = Split(images, model)
    alone = load.time_alone(url, model, split[0], tls)
    easy = (LEISURE if scenario == SERVER else 1.0) / alone
    settings = Settings(scenario, accuracy=True, rate=easy if rate is None else rate)
    folder = logs / f"{model}-{settings.name}"
    ended = process.run(url, model, split, settings, folder, tls)
    if ended.failures:
        why, count = max(ended.failures.items(), key=lambda each: each[1])
        raise LoadTestError(f"{sum(ended.failures.values())} of {len(images)} images have no answer ({count} x {why})")
    if ended.versions != {version}:
        raise LoadTestError(
            f"{url} answers with release {', '.join(sorted(ended.versions))} of {model}, {repository} is {version}: "
            "name the --repository that it serves"
        )
    served = int((read_classes(folder, len(images)) == images.targets).sum())
    return Accuracy(model, scenario, len(images), served, right)


def proved(repository: Path, model: str) -> tuple[str, Proof]:
    """The version of a published model, and the proof of the precision that answers behind it.

    Raises:
        LoadTestError: there is no such model.
        manifest.ManifestError: its manifest cannot be read.
    """
    versions = [path.name for path in (repository / model).glob("*") if path.name.isdigit()]
    if not versions:
        raise LoadTestError(f"there is no {model} in {repository}: name another --model or --repository")
    version = max(versions, key=int)
    record = manifest.read(repository / model / version)
    for need in record.needs:
        if need in PRECISION_MODELS:
            return version, proved(repository, need)[1]
    return version, record.proof


def _right_offline(model: str, proof: Proof, images: ImageSet) -> int:
    if proof.accuracy is None or proof.data is None:
        raise LoadTestError(f"the accuracy of {model} was never measured offline: `python -m export verify` does")
    if (proof.data.sha256, proof.data.images) != (images.sha256, len(images)):
        raise LoadTestError(
            f"{model} was proved on {proof.data.images} images of {proof.data.name} ({proof.data.sha256[:16]}…), got "
            f"{len(images)} of {images.name} ({images.sha256[:16]}…): name that --data"
        )
    return round(proof.accuracy.top1 * len(images) / 100)
