"""Starting points: public formats load, and nothing in a file is run."""

import os
import pickle
from pathlib import Path

import numpy as np
import pytest
import torch
from safetensors.torch import save_file

from training import pretrained as start
from training.model import AlexNet
from training.pretrained import WeightsError


class Malicious:
    """Unpickled, it would make a file."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def __reduce__(self):
        return os.mkdir, (str(self.path),)


@pytest.fixture(scope="module")
def public() -> dict[str, torch.Tensor]:
    """A state dict in torchvision's format, of 1000 classes."""
    torch.manual_seed(1)
    return AlexNet().state_dict()


@pytest.fixture(scope="module")
def refusing() -> AlexNet:
    """A network of two classes, for weights that it does not take."""
    return AlexNet(classes=2)


@pytest.mark.parametrize("suffix", [".pth", ".safetensors"])
def test_public_weights_load_as_they_are(tmp_path: Path, public, suffix: str) -> None:
    path = tmp_path / f"alexnet{suffix}"
    torch.save(public, path) if suffix == ".pth" else save_file(public, path)
    network = AlexNet()
    start.initialise(network, str(path))
    assert torch.equal(network.classifier[6].weight, public["classifier.6.weight"])
    assert torch.equal(network.features[3].weight, public["features.3.weight"])


def test_another_number_of_classes_keeps_all_but_the_last_layer(tmp_path: Path, public) -> None:
    torch.save(public, tmp_path / "alexnet.pth")
    network = AlexNet(classes=10)
    start.initialise(network, str(tmp_path / "alexnet.pth"))
    assert torch.equal(network.classifier[4].weight, public["classifier.4.weight"])
    assert network.classifier[6].weight.shape == (10, 4096)


def test_imagenets_normalisation_is_folded_into_the_first_convolution(public) -> None:
    """Pixels through ImageNet's mean and deviation, and through ours with folded weights: the same, off the border."""
    pixels = torch.randint(0, 256, (1, 3, 64, 64)).double()
    mean, std = (torch.tensor(v).double().view(1, 3, 1, 1) for v in ((0.485, 0.456, 0.406), (0.229, 0.224, 0.225)))
    weights = {name: public[name].clone() for name in ("features.0.weight", "features.0.bias")}
    convolve = lambda x, w: torch.nn.functional.conv2d(  # noqa: E731
        x, w["features.0.weight"].double(), w["features.0.bias"].double(), stride=4
    )
    wanted = convolve((pixels / 255 - mean) / std, weights)
    start.fold_normalisation(weights)
    torch.testing.assert_close(convolve((pixels - 128) / 128, weights), wanted, atol=1e-5, rtol=1e-5)


def test_code_in_a_pth_file_is_refused_and_not_run(tmp_path: Path) -> None:
    path, proof = tmp_path / "alexnet.pth", tmp_path / "executed"
    torch.save({"features.0.weight": Malicious(proof)}, path)
    with pytest.raises(WeightsError, match=r"alexnet\.pth is refused, its pickle is damaged or holds code"):
        start.read(path)
    assert not proof.exists()


def test_code_in_a_pickle_of_arrays_is_refused_and_not_run(tmp_path: Path) -> None:
    path, proof = tmp_path / "weights.pickle", tmp_path / "executed"
    path.write_bytes(pickle.dumps({"AlexNet_0": Malicious(proof)}))
    with pytest.raises(WeightsError, match=r"refused: the pickle asks for (posix|nt|os)\.mkdir"):
        start.read_convolutions(path)
    assert not proof.exists()


@pytest.mark.parametrize("function", ["exec", "scalar", "_reconstruct.__globals__"])
def test_even_numpys_other_functions_are_refused(tmp_path: Path, function: str) -> None:
    path = tmp_path / "weights.pickle"
    path.write_bytes(b"cnumpy\n" + function.encode() + b"\n.")
    with pytest.raises(WeightsError, match="want numpy arrays only"):
        start.read_convolutions(path)


def test_the_pickle_of_convolutions_is_read_channels_first(tmp_path: Path) -> None:
    generator = np.random.default_rng(0)
    shapes = [(11, 11, 3, 64), (5, 5, 64, 192), (3, 3, 192, 384), (3, 3, 384, 256), (3, 3, 256, 256)]
    layers = [{"kernel": generator.normal(size=s).astype("f4"), "bias": np.arange(s[3], dtype="f4")} for s in shapes]
    path = tmp_path / "weights.pickle"
    path.write_bytes(pickle.dumps({"AlexNet_0": {f"Conv_{i}": layer for i, layer in enumerate(layers)}}))
    got = start.read_convolutions(path)
    assert {name: tuple(value.shape) for name, value in got.items() if "weight" in name} == {
        f"features.{n}.weight": (s[3], s[2], s[0], s[1]) for n, s in zip((0, 3, 6, 8, 10), shapes, strict=True)
    }
    assert got["features.3.weight"][7, 5, 1, 2] == layers[1]["kernel"][1, 2, 5, 7]


@pytest.mark.parametrize("content", [b"", b"garbage", pickle.dumps({"other": 1}), pickle.dumps([1])])
def test_other_pickles_are_refused(tmp_path: Path, content: bytes) -> None:
    path = tmp_path / "weights.pickle"
    path.write_bytes(content)
    with pytest.raises(WeightsError, match=r"weights\.pickle does not hold AlexNet's five convolutions"):
        start.read_convolutions(path)


@pytest.mark.parametrize("name", ["a.pth", "a.safetensors"])
def test_damaged_and_missing_files_are_named(tmp_path: Path, name: str) -> None:
    with pytest.raises(WeightsError, match=f"there is no weights file .*{name}"):
        start.read(tmp_path / name)
    (tmp_path / name).write_bytes(b"damaged")
    with pytest.raises(WeightsError, match=name):
        start.read(tmp_path / name)


def test_weights_of_another_network_are_refused(tmp_path: Path, refusing: AlexNet) -> None:
    torch.save({"conv1.weight": torch.zeros(1)}, tmp_path / "resnet.pth")
    with pytest.raises(WeightsError, match="weights of another network: conv1.weight"):
        start.initialise(refusing, str(tmp_path / "resnet.pth"))
    torch.save([1, 2], tmp_path / "list.pth")
    with pytest.raises(WeightsError, match="no dictionary of tensors"):
        start.read(tmp_path / "list.pth")


def spoiled(value: torch.Tensor, number: float) -> torch.Tensor:
    value = value.clone()
    value[0] = number
    return value


@pytest.mark.parametrize("suffix", [".pth", ".safetensors"])
@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda bias: spoiled(bias, float("nan")), "has 1 values of 64 that are NaN or infinite"),
        (lambda bias: spoiled(bias, float("-inf")), "has 1 values of 64 that are NaN or infinite"),
        (lambda bias: spoiled(bias.double(), 1e300), "has 1 values of 64 that are NaN or infinite"),
        (lambda bias: bias.long(), r"is of torch\.int64"),
        (lambda bias: bias.bool(), r"is of torch\.bool"),
        (lambda bias: bias.to(torch.complex64), r"is of torch\.complex64"),
    ],
)
def test_weights_that_are_no_finite_floats_are_refused(
    tmp_path: Path, refusing: AlexNet, suffix: str, change, message: str
) -> None:
    path = tmp_path / f"alexnet{suffix}"
    weights = {"features.0.weight": torch.zeros(64, 3, 11, 11), "features.0.bias": change(torch.zeros(64))}
    torch.save(weights, path) if suffix == ".pth" else save_file(weights, path)
    with pytest.raises(WeightsError, match=rf"features\.0\.bias {message}: want finite floats") as caught:
        start.initialise(refusing, str(path))
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    ("weights", "message"),
    [
        ({"features.0.bias": torch.zeros(64).to_sparse()}, r"features\.0\.bias is sparse \(torch\.sparse_coo\)"),
        ({0: torch.zeros(64)}, "has a tensor named 0"),
        ({"classifier.6.bias": torch.tensor(1.0)}, r"of another network: classifier\.6\.bias"),
        ({"classifier.6.bias": torch.zeros(3, 2)}, r"of another network: classifier\.6\.bias"),
        ({"classifier.6.weight": torch.zeros(3, 4096)}, r"of another network: classifier\.6\.weight"),
        ({"features.0.weight": torch.zeros(64, 3, 11, 11)}, r"holds half of features\.0"),
        ({"features.0.weight": torch.zeros(64, 5, 11, 11), "features.0.bias": torch.zeros(64)}, "another network"),
    ],
)
def test_tensors_that_do_not_fit_are_refused_in_one_line(
    tmp_path: Path, refusing: AlexNet, weights, message: str
) -> None:
    torch.save(weights, tmp_path / "alexnet.pth")
    with pytest.raises(WeightsError, match=message) as caught:
        start.initialise(refusing, str(tmp_path / "alexnet.pth"))
    assert "\n" not in str(caught.value)


def test_half_precision_is_a_float(tmp_path: Path, public) -> None:
    half = public["classifier.6.weight"].half()
    torch.save({"classifier.6.weight": half}, tmp_path / "alexnet.pth")
    (got,) = start.read(tmp_path / "alexnet.pth").values()
    assert got.dtype == torch.float32
    assert torch.equal(got, half.float())


def test_a_start_is_known_by_its_contents(tmp_path: Path) -> None:
    path = tmp_path / "alexnet.pth"
    path.write_bytes(b"one")
    before = start.identity(str(path))
    path.write_bytes(b"two")
    assert start.identity(str(path)) != before
    assert start.identity("scratch") == "scratch"
    with pytest.raises(WeightsError, match="there is no weights file .*nowhere"):
        start.identity(str(tmp_path / "nowhere"))


def test_the_convolutions_fit_one_variant_only() -> None:
    with pytest.raises(WeightsError, match="fit the variant 'owt' only"):
        start.initialise(AlexNet("paper", classes=2), "imagenet-convolutions")
