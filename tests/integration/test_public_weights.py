"""Public weights in torchvision's format and a folder of pictures: proved and served by the README's five commands."""

from __future__ import annotations

import re
import shlex
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from alexnet_client import AlexNetClient
from alexnet_client.preprocess import preprocess
from deploy.serve.server import LocalServer
from export.artefacts import artefact
from tests.conftest import ROOT, python
from training import checkpoint
from training.model import AlexNet
from training.pretrained import fold_normalisation
from training.torch_predictor import TorchPredictor

PICTURES = 512
#: Classes that the stand-in tells apart; it has ImageNet's thousand.
KINDS = 8


def picture(number: int) -> Image.Image:
    """One of eight kinds, with noise: its colour and the width of its stripes are its kind's."""
    kind, generator = number % KINDS, np.random.default_rng(number)
    colour = np.array([(kind & 1) * 160 + 60, (kind >> 1 & 1) * 160 + 60, (kind >> 2) * 160 + 60])
    stripes = (np.arange(64) // (kind + 2) % 2)[:, None, None] * 0.5 + 0.5
    pixels = colour * stripes + generator.normal(0, 6, (64, 64, 3))
    return Image.fromarray(pixels.clip(0, 255).astype(np.uint8))


@pytest.fixture(scope="module")
def root(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Where a user stands: ``alexnet.pth``, and ``photographs/`` without labels; the commands have run there."""
    root = tmp_path_factory.mktemp("public")
    (root / "photographs").mkdir()
    for number in range(PICTURES):
        picture(number).save(root / "photographs" / f"{number:03d}.png")
    torch.save(weights(), root / "alexnet.pth")
    (root / "printed.txt").write_text("".join(python(*command, cwd=root).stdout for command in commands()))
    return root


def weights() -> dict[str, torch.Tensor]:
    """Random, of 1,000 classes, with a last layer that tells the eight kinds apart: answers that rounding keeps."""
    torch.manual_seed(3)
    network = AlexNet().eval()
    public = {name: value.clone() for name, value in network.state_dict().items()}
    folded = dict(public)
    fold_normalisation(folded)
    network.load_state_dict(folded)
    pixels = np.stack([preprocess(picture(kind)) for kind in range(KINDS)])
    embedding = torch.from_numpy(TorchPredictor(network, "").__call__(pixels).embedding)
    apart = embedding - embedding.mean(0)
    public["classifier.6.weight"] = torch.zeros(1000, 4096)
    public["classifier.6.weight"][:KINDS] = 8 * apart / apart.norm(dim=1).square().mean()
    public["classifier.6.bias"] = torch.full((1000,), -4.0)
    public["classifier.6.bias"][:KINDS] = -(public["classifier.6.weight"][:KINDS] @ embedding.mean(0))
    return public


def commands() -> list[list[str]]:
    """The README's, word for word."""
    text = (ROOT / "README.md").read_text()
    section = text.split("## Public weights")[1].split("```sh\n")[1].split("```")[0]
    lines = [line.split(" #")[0].strip() for line in section.splitlines() if line.strip()]
    return [shlex.split(line.replace("python -m ", "")) for line in lines if line.startswith("python -m ")]


def test_there_are_five_commands() -> None:
    assert [command[0] for command in commands()] == ["training", *["export"] * 4]


def test_everything_but_accuracy_is_proved(root: Path) -> None:
    printed = (root / "printed.txt").read_text()
    found = re.findall(r"^(fp32|int8-cpu): accuracy: not measured on 512 images; .*: passed$", printed, re.MULTILINE)
    assert found == ["fp32", "int8-cpu"]
    for name in found:
        proof = artefact.read(root / "build/artefacts" / name).proof
        assert proof.passed
        assert proof.accuracy is None
        assert proof.comparison is not None
        assert proof.comparison.top1_loss is None
        assert (proof.data.name, proof.data.images) == ("photographs", PICTURES)


def test_a_client_gets_pytorchs_answers_with_imagenets_labels(root: Path, tmp_path: Path) -> None:
    source = checkpoint.load(root / "build/checkpoint")
    files = [root / "photographs" / f"{number:03d}.png" for number in range(12)]
    pixels = np.stack([preprocess(Image.open(file)) for file in files])
    wanted = TorchPredictor(source.model, source.sha256)(pixels)
    assert len({int(row.argmax()) for row in wanted.probabilities}) == KINDS
    with LocalServer(root / "build/repository", use_free_ports=True, work=tmp_path) as server:
        with AlexNetClient(server.grpc_url, "alexnet_fp32") as client:
            got = client.infer(pixels)
        with AlexNetClient(server.grpc_url) as client:
            classes = client.classify(files, top_k=1)
    np.testing.assert_allclose(got.probabilities, wanted.probabilities, atol=1e-5)
    np.testing.assert_allclose(got.embedding, wanted.embedding, atol=1e-4)
    labels = (ROOT / "training/labels/imagenet.txt").read_text().splitlines()
    assert [row[0].label for row in classes] == [labels[row.argmax()] for row in wanted.probabilities]


def test_pictures_without_labels_train_and_evaluate_nothing(root: Path) -> None:
    for command in ("train", "evaluate"):
        done = python("training", command, "--data", "photographs", cwd=root, status=1)
        assert "photographs holds pictures without labels: want" in done.stderr
