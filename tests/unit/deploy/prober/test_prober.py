"""Golden images through the real client, to a server whose answers are known; what is wrong is counted as wrong."""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from functools import partial
from pathlib import Path

import grpc
import numpy as np
import pytest
from prometheus_client import CollectorRegistry

from alexnet_client import AlexNetClient, Outputs, Retry
from alexnet_client.contract import IMAGE, PROBE_ID, class_group
from alexnet_client.preprocess import decode
from deploy.prober.expected import Expected, as_file, of_artefact, of_release
from deploy.prober.metrics import Metrics
from deploy.prober.prober import Prober
from export.artefacts import artefact
from export.artefacts.manifest import ManifestError
from export.proof import golden
from export.publish import publish
from tests.artefacts import LABELS, change, make_artefact, make_pair
from tests.fake_triton import FakeTriton, Scripted, outputs

PIXELS = np.random.default_rng(0).integers(0, 256, (4, *IMAGE.shape), np.uint8)
ANSWERS = Outputs(*outputs(PIXELS))
#: Of 400 images, as the proof saw them.
POPULATION = golden.Population(np.array([100, 200, 100]), 9.0, 1.5)


def release(root: Path, answers: Outputs = ANSWERS) -> Path:
    """Publish a network, and an ensemble over it, that carry this golden batch; returns the repository."""
    folder = make_artefact(root / "artefacts" / "int8-cpu", "int8", b"eight bits", scheme="cpu")
    golden.write(folder / artefact.GOLDEN_FILE, PIXELS, answers, POPULATION)
    change(folder)
    publish(root / "repository", [folder], "int8")
    return root / "repository"


@contextmanager
def prober(server: FakeTriton, repository: Path) -> Iterator[tuple[Prober, CollectorRegistry]]:
    registry = CollectorRegistry()
    with AlexNetClient(server.url, retry=Retry(attempts=1), id_prefix=PROBE_ID) as client:
        known = partial(of_release, repository, "alexnet")
        yield Prober(client, known(), known, Metrics("alexnet", registry)), registry


def test_a_golden_file_reaches_the_network_pixel_by_pixel() -> None:
    for pixels in PIXELS:
        np.testing.assert_array_equal(decode(as_file(pixels)), pixels)


def test_a_release_may_have_been_copied_to_a_folder_of_another_name(tmp_path: Path) -> None:
    copy = shutil.copytree(release(tmp_path), tmp_path / "live")
    for asked in ("", "1"):
        assert of_release(copy, "alexnet", asked).release == "1"
    (copy / "alexnet" / "2").mkdir()
    with pytest.raises(ManifestError, match=r"live/alexnet has 2 versions: want the one that publish wrote"):
        of_release(copy, "alexnet")


def test_right_answers_are_counted_and_timed(tmp_path: Path) -> None:
    with FakeTriton() as server, prober(server, release(tmp_path)) as (probe, registry):
        started = registry.get_sample_value("alexnet_prober_last_success_timestamp_seconds", {"model": "alexnet"})
        assert [probe.probe(number) for number in range(6)] == ["ok"] * 6
        assert all(request.id.startswith(PROBE_ID) for request in server.requests)

    def value(name: str, **labels: str) -> float | None:
        return registry.get_sample_value(f"alexnet_prober_{name}", labels)

    assert value("probes_total", model="alexnet", outcome="ok") == 6
    assert value("probes_total", model="alexnet", outcome="wrong") == 0
    assert value("probe_seconds_count", model="alexnet") == 6
    assert value("max_abs_dp", model="alexnet") == pytest.approx(0, abs=1e-6)
    assert value("embedding_cosine", model="alexnet") == pytest.approx(1)
    assert value("last_success_timestamp_seconds", model="alexnet") > started
    assert [value("reference_class_ratio", model="alexnet_int8", **{"class": str(i)}) for i in range(3)] == [
        0.25,
        0.5,
        0.25,
    ]
    assert value("reference_embedding_norm", model="alexnet_int8", statistic="mean") == 9.0


@pytest.mark.parametrize("part", ["probabilities", "embedding"])
def test_another_images_answer_is_wrong(tmp_path: Path, part: str) -> None:
    others = ANSWERS._replace(**{part: np.roll(getattr(ANSWERS, part), 1, axis=0)})
    if part == "probabilities":
        others = others._replace(probabilities=np.eye(3, dtype=np.float32)[[0, 1, 2, 0]])
    with FakeTriton() as server, prober(server, release(tmp_path, others)) as (probe, registry):
        assert probe.probe(0) == "wrong"
    assert registry.get_sample_value("alexnet_prober_probes_total", {"model": "alexnet", "outcome": "wrong"}) == 1


def test_another_label_is_wrong(tmp_path: Path) -> None:
    repository = release(tmp_path)
    expected = replace(of_release(repository, "alexnet"), labels=("cat", "owl", "dog"))
    with FakeTriton() as server, AlexNetClient(server.url) as client:
        assert Prober(client, expected, lambda _: expected, Metrics("alexnet", CollectorRegistry())).probe(0) == "wrong"


def test_a_failure_is_counted_by_its_error_and_is_no_success(tmp_path: Path) -> None:
    with FakeTriton() as server, prober(server, release(tmp_path)) as (probe, registry):
        server.script(Scripted(grpc.StatusCode.UNAVAILABLE, "no server"), Scripted(grpc.StatusCode.INTERNAL, "bug"))
        assert [probe.probe(number) for number in range(3)] == ["Unavailable", "ServerError", "ok"]
    labels = {"model": "alexnet", "outcome": "ServerError"}
    assert registry.get_sample_value("alexnet_prober_probes_total", labels) == 1
    assert registry.get_sample_value("alexnet_prober_probe_seconds_count", {"model": "alexnet"}) == 1


def test_each_release_is_held_against_its_own_golden_batch(tmp_path: Path) -> None:
    """Published, but not live yet: the old one's answers are right; then the new one's are."""
    repository = release(tmp_path)
    with FakeTriton() as server, prober(server, repository) as (probe, registry):
        assert probe.probe(0) == "ok"
        release(tmp_path, ANSWERS._replace(embedding=ANSWERS.embedding[::-1]))
        assert probe.probe(1) == "ok"
        server.version = "2"
        assert probe.probe(2) == "wrong"
        server.version = "3"
        assert probe.probe(3) == "ManifestError"
    manifest = of_release(repository, "alexnet").manifest
    labels = {"model": "alexnet", "network": "alexnet_int8", "release": "2", "manifest": manifest}
    assert registry.get_sample_value("alexnet_prober_release_info", labels) == 1


def test_what_was_not_published_so_is_no_reference(tmp_path: Path) -> None:
    repository = release(tmp_path)
    golden.write(repository / "alexnet_int8" / "1" / artefact.GOLDEN_FILE, PIXELS[::-1], ANSWERS)
    with pytest.raises(ManifestError, match=r"golden.npz is missing or was changed after it was published"):
        of_release(repository, "alexnet")


def test_a_release_without_a_golden_batch_says_what_to_do(tmp_path: Path) -> None:
    publish(tmp_path / "repository", make_pair(tmp_path), "int8")
    with pytest.raises(ManifestError, match=r"has no golden.npz to probe by: verify its graph and publish it again"):
        of_release(tmp_path / "repository", "alexnet_fp32")


def test_an_artefact_is_a_reference_for_any_release(tmp_path: Path) -> None:
    release(tmp_path)
    expected = of_artefact(tmp_path / "artefacts" / "int8-cpu")
    assert isinstance(expected, Expected)
    assert (expected.network, expected.release, expected.labels) == ("alexnet_int8", "", tuple(LABELS))


def test_a_population_is_few_numbers_about_many_answers() -> None:
    probabilities = np.array([[0.7, 0.2, 0.1], [0.1, 0.2, 0.7], [0.6, 0.3, 0.1]], np.float32)
    embedding = np.array([[3, 4], [0, 1], [0, 6]], np.float32)  # lengths 5, 1, 6
    counted = golden.Population.of(Outputs(probabilities, embedding))
    assert counted.top1.tolist() == [2, 0, 1]
    assert (counted.norm, counted.norm_deviation) == pytest.approx((4, (14 / 3) ** 0.5))


@pytest.mark.parametrize("classes", [1, 10, 64, 65, 100, 1000, 21841])
def test_classes_are_counted_in_at_most_64_groups_of_neighbours(classes: int) -> None:
    groups = [class_group(index, classes) for index in range(classes)]
    assert groups == sorted(groups)
    assert len(set(groups)) == min(classes, 64)
    assert all(class_group(first, classes) == first <= index for index, first in enumerate(groups))
