"""What the served top-1 is held against: the proof of the release that serves, on the same images."""

from __future__ import annotations

from pathlib import Path

import pytest

from deploy.loadtest.loadgen import accuracy as subject
from deploy.loadtest.loadgen.accuracy import Accuracy, measure_accuracy, proved
from deploy.loadtest.loadgen.process import Ended
from deploy.loadtest.loadtest_error import LoadTestError
from export.artefacts.manifest import Manifest
from export.proof.proof import Accuracy as Offline
from export.proof.proof import Data, Proof, Verdict
from tests.fake_triton import FakeTriton
from tests.patterns import Patterns

RIGHT = 30


def published(repository: Path, images: Patterns, **changes: object) -> Path:
    """Version 7 of the ensemble and of what answers behind it, ``RIGHT`` of the images right."""
    data = Data(images.name, images.sha256, len(images))
    proof = Proof(Verdict.PASSED, (), data=data, accuracy=Offline(100 * RIGHT / len(images), 100.0))
    for name, needs in (("alexnet", ("alexnet_decode", "alexnet_int8")), ("alexnet_int8", ())):
        version = repository / name / "7"
        version.mkdir(parents=True)
        (repository / name / "labels.txt").write_text("".join(f"{label}\n" for label in images.labels))
        record = {"proof": Proof(Verdict.PASSED, ()) if needs else proof, **({} if needs else changes)}
        Manifest(model=name, files={}, needs=needs, **record).write(version)
    return repository


@pytest.fixture
def measured(images: Patterns, tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    """Measure with answers of which so many are right; LoadGen itself has an integration test."""

    def measure(right: int, version: str = "7", failures: dict[str, int] | None = None, **changes: object) -> Accuracy:
        answers = images.targets.copy()
        answers[right:] = (answers[right:] + 1) % len(images.labels)
        monkeypatch.setattr(subject, "open_labelled", lambda *_: images)
        monkeypatch.setattr(subject.process, "run", lambda *_: Ended(failures or {}, frozenset({version})))
        monkeypatch.setattr(subject, "read_classes", lambda *_: answers)
        with FakeTriton() as server:
            return measure_accuracy(
                server.url, "alexnet", published(tmp_path / "repository", images, **changes), tmp_path, tmp_path
            )

    return measure


def test_one_image_more_or_less_is_another_accuracy(images: Patterns) -> None:
    same, other = (Accuracy("alexnet", "Offline", 10_000, served, 9076) for served in (9076, 9077))
    assert same.same
    assert not other.same
    assert "served 90.77 % (9077), proved offline 90.76 % (9076): NOT EQUAL" in str(other)
    assert str(same).startswith("LoadGen-driven, ")


def test_it_is_held_against_the_precision_behind_the_ensemble(measured, images: Patterns) -> None:
    got = measured(RIGHT)
    assert (got.served, got.proved, got.images, got.same) == (RIGHT, RIGHT, len(images), True)


def test_a_lost_image_is_seen(measured) -> None:
    assert not measured(RIGHT - 1).same


def test_another_release_is_refused(measured) -> None:
    with pytest.raises(LoadTestError, match="answers with release 8 of alexnet, .* is 7: name the --repository"):
        measured(RIGHT, version="8")


def test_images_without_an_answer_are_no_accuracy(measured) -> None:
    with pytest.raises(LoadTestError, match=r"5 of 40 images have no answer \(3 x UNAVAILABLE"):
        measured(RIGHT, failures={"UNAVAILABLE": 3, "INTERNAL": 2})


def test_a_proof_without_accuracy_or_of_other_images_is_refused(measured) -> None:
    with pytest.raises(LoadTestError, match="never measured offline: `python -m export verify`"):
        measured(RIGHT, proof=Proof(Verdict.PASSED, ()))


def test_other_images_are_refused(measured) -> None:
    other = Data("imagenet/test", "0" * 64, 40)
    with pytest.raises(LoadTestError, match=r"proved on 40 images of imagenet/test \(0{16}…\), got 40 of patterns"):
        measured(RIGHT, proof=Proof(Verdict.PASSED, (), data=other, accuracy=Offline(75.0, 100.0)))


def test_a_model_that_is_not_published_is_refused(images: Patterns, tmp_path: Path) -> None:
    with pytest.raises(LoadTestError, match="there is no alexnet_fp16 in"):
        proved(published(tmp_path, images), "alexnet_fp16")
