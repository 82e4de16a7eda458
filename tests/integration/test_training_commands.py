"""The command line: what it writes, what it prints, and one line for every mistake."""

import json
from pathlib import Path

import pytest
import torch
from safetensors.torch import save_file

from tests.conftest import TESTING, Built
from training import checkpoint
from training import pretrained as start
from training.__main__ import main
from training.model import AlexNet


@pytest.fixture(scope="module")
def public(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A file in the format of torchvision's public weights, for three classes."""
    torch.manual_seed(2)
    path = tmp_path_factory.mktemp("public") / "alexnet.pth"
    torch.save(AlexNet(classes=3).state_dict(), path)
    return path


@pytest.fixture
def labels(tmp_path: Path) -> Path:
    path = tmp_path / "labels.txt"
    path.write_text("cat\ndog\nowl\n")
    return path


def test_fetch_names_what_is_there(fashion_mnist: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["fetch", "fashion-mnist", "--output", str(fashion_mnist)]) == 0
    assert "fashion-mnist/test: 10,000 images in 10 classes" in capsys.readouterr().out


def test_public_weights_become_a_checkpoint_without_training(public: Path, labels: Path, tmp_path: Path) -> None:
    assert main(["import", "--weights", str(public), "--labels", str(labels), "--output", str(tmp_path / "got")]) == 0
    got = checkpoint.load(tmp_path / "got")
    assert got.meta.labels == ("cat", "dog", "owl")
    wanted = torch.load(public, weights_only=True)
    assert torch.equal(got.model.classifier[6].weight, wanted["classifier.6.weight"])
    # A grey of 128 is zero to the network: what is left of conv 1 is the folded bias, by the published normalisation.
    level = (128 / 255 - torch.tensor([0.485, 0.456, 0.406])) / torch.tensor([0.229, 0.224, 0.225])
    bias = wanted["features.0.bias"] + torch.einsum("kchw,c->k", wanted["features.0.weight"], level)
    torch.testing.assert_close(got.model.features[0].bias, bias, atol=1e-5, rtol=1e-5)


def test_imagenets_labels_are_torchvisions_thousand(public: Path, tmp_path: Path, capsys) -> None:
    command = ["import", "--weights", str(public), "--labels", "imagenet", "--output", str(tmp_path / "got")]
    assert main(command) == 1
    assert "is for 3 classes, there are 1,000 labels" in capsys.readouterr().err
    assert not (tmp_path / "got").exists()


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("cat\ndog\n", "is for 3 classes, there are 2 labels: give one for each class"),
        ("", "is empty or has an empty line"),
        ("cat\n\nowl\n", "is empty or has an empty line"),
    ],
)
def test_labels_that_do_not_fit_the_weights_are_refused(
    public: Path, labels: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str], text: str, message: str
) -> None:
    labels.write_text(text)
    assert main(["import", "--weights", str(public), "--labels", str(labels), "--output", str(tmp_path / "got")]) == 1
    error = capsys.readouterr().err
    assert message in error
    assert error.count("\n") == 1
    assert not (tmp_path / "got").exists()


def test_weights_that_would_leave_a_layer_random_are_not_imported(labels: Path, tmp_path: Path, capsys) -> None:
    some = {name: value for name, value in AlexNet(classes=3).state_dict().items() if name.startswith("features")}
    save_file(some, tmp_path / "some.safetensors")
    command = ["import", "--weights", str(tmp_path / "some.safetensors"), "--labels", str(labels)]
    assert main([*command, "--output", str(tmp_path / "got")]) == 1
    assert "some.safetensors lacks classifier.1.weight, classifier.1.bias" in capsys.readouterr().err


def test_random_weights_are_no_public_weights(labels: Path, tmp_path: Path, capsys) -> None:
    command = ["import", "--weights", "scratch", "--labels", str(labels), "--output", str(tmp_path / "got")]
    assert main(command) == 1
    assert "there is no weights file scratch" in capsys.readouterr().err
    assert not (tmp_path / "got").exists()


def test_a_checkpoint_is_a_start_and_its_normalisation_is_not_folded_twice(tmp_path: Path) -> None:
    torch.manual_seed(3)
    trained, other = AlexNet(classes=3), AlexNet(classes=2)
    checkpoint.save(tmp_path, trained, checkpoint.Meta("owt", ("a", "b", "c")))
    start.initialise(other, str(tmp_path))
    assert torch.equal(other.features[0].weight, trained.features[0].weight)
    assert torch.equal(other.features[0].bias, trained.features[0].bias)
    with pytest.raises(start.WeightsError, match="belongs to a checkpoint: give its folder"):
        start.initialise(other, str(tmp_path / checkpoint.WEIGHTS_FILE))


def test_evaluate_prints_and_writes_the_same_figures(
    built: Built, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    command = ["evaluate", "--checkpoint", str(built.checkpoint), "--data", str(built.data), "--output", str(tmp_path)]
    assert main([*command, "--predictions", str(tmp_path / "predictions")]) == 0
    printed = capsys.readouterr().out
    written = json.loads((tmp_path / "evaluation.json").read_text())
    assert f"top-1 {written['top1']:.2f} %, top-5 {written['top5']:.2f} % on {10 * TESTING} images" in printed
    assert written["top1"] > 60  # chance is 10: 1,200 images teach it something
    assert sum(map(sum, written["confusion"])) == written["images"] == 10 * TESTING
    correct = sum(row[i] for i, row in enumerate(written["confusion"]))
    assert written["top1"] == pytest.approx(100 * correct / (10 * TESTING))


def test_a_data_set_with_other_classes_is_not_evaluated(
    built: Built, fashion_mnist: Path, tmp_path: Path, capsys
) -> None:
    command = ["evaluate", "--checkpoint", str(built.checkpoint), "--data", str(fashion_mnist)]
    assert main([*command, "--output", str(tmp_path / "got")]) == 1
    assert "fashion-mnist/test has T-shirt/top, " in capsys.readouterr().err


@pytest.mark.parametrize(
    ("command", "message"),
    [
        (
            ["train", "--recipe", "none"],
            "there is no recipe 'none': want one of demo, fashion_mnist, imagenet, smoke",
        ),
        (["train", "--seed", "-1"], "seed is -1: want at least 0"),
        (["train", "--recipe", "smoke", "--data", "nowhere"], "nowhere is no data set with a split 'train'"),
        (["bench", "--images", "10"], "got 10 images to measure 1 workers with: want at least 768"),
        (["evaluate", "--checkpoint", "nowhere"], "nowhere is no checkpoint, meta.json is missing"),
        (["import", "--weights", "nowhere.pth", "--labels", "nowhere.txt"], "No such file or directory: 'nowhere.txt'"),
    ],
)
def test_a_mistake_is_one_line_and_a_status(command: list[str], message: str, capsys) -> None:
    assert main(command) == 1
    error = capsys.readouterr().err
    assert message in error
    assert error.startswith(f"python -m training {command[0]}: ")
    assert error.count("\n") == 1


def test_a_recipe_that_does_not_fit_is_said_before_an_image_is_decoded(tmp_path: Path, capsys) -> None:
    for label in ("cat", "dog"):
        (tmp_path / "pets" / label).mkdir(parents=True)
        for number in range(10):
            (tmp_path / "pets" / label / f"{number}.png").write_bytes(b"no image")
    assert main(["train", "--recipe", "demo", "--data", str(tmp_path / "pets"), "--output", str(tmp_path / "got")]) == 1
    error = capsys.readouterr().err
    assert error.startswith(
        "python -m training train: pets/train has 16 images, which the recipe does not fit: "
        "it wants 17,000 training and 1,000 validation images; components is 512"
    )
    assert error.count("\n") == 1
    assert not (tmp_path / "got").exists()


@pytest.mark.parametrize("command", [[], ["train"], ["evaluate"], ["fetch"], ["bench"], ["import"]])
def test_help_shows_defaults_and_ends_well(command: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit, match="0"):
        main([*command, "--help"])
    assert "usage: python -m training" in capsys.readouterr().out
