"""Releases under one running server: each is taken as a whole or not at all, and no request meets two."""

from __future__ import annotations

import logging
import shutil
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest

from alexnet_client import AlexNetClient
from deploy.serve.server import LocalServer
from export.publish import publish, switch
from tests.artefacts import change
from tests.conftest import Built
from tests.integration.test_supervisor import flip
from tests.waiting import wait_until
from training.data.image_set import ImageSet
from training.data.open import open_split


@pytest.fixture(scope="module")
def test_images(built: Built) -> ImageSet:
    return open_split(built.data, "test")


class Publisher:
    """Publishes INT8 with labels that name the release."""

    def __init__(self, built: Built, folder: Path) -> None:
        self.built = built
        self.repository = folder / "repository"
        self._folder = folder
        self._count = 0

    def artefact(self) -> tuple[Path, str]:
        """An artefact of its own, and what its labels end with."""
        self._count += 1
        folder = self._folder / f"artefact-{self._count}" / "int8-cpu"
        shutil.copytree(self.built.artefacts / "int8-cpu", folder)
        suffix = f" of {self._count}"
        labels = (folder / "labels.txt").read_text().splitlines()
        (folder / "labels.txt").write_text("".join(f"{label}{suffix}\n" for label in labels))
        change(folder)
        return folder, suffix

    def publish(self, repository: Path | None = None) -> str:
        """Publish the next; returns what its labels end with."""
        folder, suffix = self.artefact()
        publish(repository or self.repository, [folder], "int8", near=[self.built.artefacts])
        return suffix


@pytest.fixture(scope="module")
def publisher(built: Built, tmp_path_factory: pytest.TempPathFactory) -> Publisher:
    return Publisher(built, tmp_path_factory.mktemp("releases"))


@pytest.fixture(scope="module")
def server(publisher: Publisher, tmp_path_factory: pytest.TempPathFactory) -> Iterator[LocalServer]:
    publisher.publish()
    with LocalServer(publisher.repository, use_free_ports=True, work=tmp_path_factory.mktemp("work")) as running:
        yield running


@pytest.fixture
def client(server: LocalServer) -> Iterator[AlexNetClient]:
    with AlexNetClient(server.grpc_url) as client:
        yield client


def label(client: AlexNetClient, images: ImageSet) -> str:
    return client.classify(images.file(0), top_k=1)[0][0].label


def test_a_release_goes_live_under_load_and_not_one_request_fails(
    server: LocalServer, publisher: Publisher, client: AlexNetClient, test_images: ImageSet
) -> None:
    """Through the ensemble and straight to the model, from four threads; an error in one fails the test."""
    failures: list[BaseException] = []
    done, answers = threading.Event(), []

    def ask(model: str) -> None:
        try:
            with AlexNetClient(server.grpc_url, model) as mine:
                while not done.wait(0.02):  # which leaves something to who starts
                    answers.append(label(mine, test_images))
        except BaseException as error:
            failures.append(error)

    threads = [threading.Thread(target=ask, args=(model,)) for model in ("alexnet", "alexnet_int8") * 2]
    for thread in threads:
        thread.start()
    try:
        first = server.pid
        suffix = publisher.publish()
        wait_until(lambda: label(client, test_images).endswith(suffix), "the new release")
        wait_until(lambda: server.pid != first, "the old server's end")
    finally:
        done.set()
        for thread in threads:
            thread.join()
    assert failures == []
    assert len(answers) > 10


def test_of_two_releases_at_once_the_last_goes_live(
    server: LocalServer, publisher: Publisher, client: AlexNetClient, test_images: ImageSet
) -> None:
    publisher.publish()
    suffix = publisher.publish()
    wait_until(lambda: label(client, test_images).endswith(suffix), "the last release")
    assert server.repository.resolve().name == server._room.release.name


def test_a_damaged_release_is_declined_by_name_and_none_of_it_is_served(
    server: LocalServer,
    publisher: Publisher,
    client: AlexNetClient,
    test_images: ImageSet,
    caplog: pytest.LogCaptureFixture,
) -> None:
    """One file of two models changed: the labels of the ensemble, and a byte of the graph."""
    before, process = label(client, test_images), server.pid
    for number, name in ((100, "alexnet/labels.txt"), (101, "alexnet_int8/{}/model.onnx")):
        elsewhere = publisher.repository.with_name(f"elsewhere-{number}")
        publisher.publish(elsewhere)
        release = publisher.repository.with_name("repository.releases") / str(number)
        shutil.copytree(elsewhere.resolve(), release)
        flip(release / name.format(1))
        with caplog.at_level(logging.ERROR, "deploy.serve"):
            switch(publisher.repository, release)
            wait_until(lambda number=number: f"release {number} is not taken" in caplog.text, "the refusal")
        assert name.format(1) in caplog.text
        assert label(client, test_images) == before
        assert server.pid == process
    suffix = publisher.publish()
    wait_until(lambda: label(client, test_images).endswith(suffix), "a sound release")


def test_a_link_that_is_missing_for_a_moment_disturbs_nobody(
    server: LocalServer, publisher: Publisher, client: AlexNetClient, test_images: ImageSet, caplog
) -> None:
    release, process = publisher.repository.resolve(), server.pid
    before = label(client, test_images)
    publisher.repository.unlink()
    with caplog.at_level(logging.ERROR, "deploy.serve"):
        wait_until(lambda: "there is no model repository at" in caplog.text, "a word about it")
    assert label(client, test_images) == before
    switch(publisher.repository, release)
    suffix = publisher.publish()
    wait_until(lambda: label(client, test_images).endswith(suffix), "the next release")
    assert server.pid != process


def test_a_model_that_a_release_lacks_is_not_served_any_more(
    server: LocalServer, publisher: Publisher, client: AlexNetClient, built: Built
) -> None:
    publish(publisher.repository, [built.artefacts / "fp32", built.artefacts / "int8-cpu"], "int8")
    wait_until(lambda: "alexnet_fp32" in client.health().models, "FP32")
    publisher.publish()
    wait_until(lambda: client.health().models == ("alexnet_int8", "alexnet"), "no FP32")
