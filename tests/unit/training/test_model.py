"""The network against published counts, the paper's formulas and torchvision's layout."""

import numpy as np
import pytest
import torch

from training.model import AlexNet, Served, normalise

#: torchvision.models.alexnet: names and shapes, as published.
TORCHVISION = {
    "features.0.weight": (64, 3, 11, 11),
    "features.3.weight": (192, 64, 5, 5),
    "features.6.weight": (384, 192, 3, 3),
    "features.8.weight": (256, 384, 3, 3),
    "features.10.weight": (256, 256, 3, 3),
    "classifier.1.weight": (4096, 9216),
    "classifier.4.weight": (4096, 4096),
    "classifier.6.weight": (1000, 4096),
}


def count(network: torch.nn.Module) -> int:
    return sum(parameter.numel() for parameter in network.parameters())


def test_owt_has_the_published_number_of_parameters_and_torchvisions_names() -> None:
    network = AlexNet("owt")
    assert count(network) == 61_100_840
    shapes = {name: tuple(value.shape) for name, value in network.state_dict().items() if name.endswith("weight")}
    assert shapes == TORCHVISION


def test_paper_has_the_number_of_parameters_that_its_figure_2_gives() -> None:
    # kernels x (depth seen by one of the two groups) x side x side + biases, then the dense layers
    convolutions = (
        96 * 3 * 121 + 96 + 256 * 48 * 25 + 256 + 384 * 256 * 9 + 384 + 384 * 192 * 9 + 384 + 256 * 192 * 9 + 256
    )
    dense = 4096 * 9216 + 4096 + 4096 * 4096 + 4096 + 1000 * 4096 + 1000
    assert count(AlexNet("paper")) == convolutions + dense == 60_965_224


@pytest.mark.parametrize("variant", ["owt", "paper"])
def test_both_outputs_come_from_one_pass(variant: str) -> None:
    torch.manual_seed(0)
    network = AlexNet(variant, classes=3).eval()
    image = torch.randint(0, 256, (2, 224, 224, 3), dtype=torch.uint8)
    with torch.inference_mode():
        logits, embedding = network(normalise(image))
        probabilities, served = Served(network)(image)
        torch.testing.assert_close(logits, network.classifier[6](embedding))
    assert logits.shape == (2, 3)
    assert embedding.shape == (2, 4096)
    assert (embedding >= 0).all()
    torch.testing.assert_close(probabilities, logits.softmax(1))
    torch.testing.assert_close(served, embedding)


def test_papers_first_convolution_sees_227_pixels() -> None:
    """(227 - 11) / 4 + 1 = 55, as in its figure 2."""
    features = AlexNet("paper", classes=2).features
    assert features[:2](torch.zeros(1, 3, 224, 224)).shape == (1, 96, 55, 55)


def test_local_response_normalisation_is_the_papers() -> None:
    """Section 3.3, computed by its formula, channel by channel."""
    layer = AlexNet("paper", classes=2).features[3]
    a = np.random.default_rng(0).uniform(0, 20, (1, 12, 2, 2))
    wanted = np.empty_like(a)
    for i in range(12):
        near = a[:, max(0, i - 2) : min(11, i + 2) + 1]
        wanted[:, i] = a[:, i] / (2 + 1e-4 * (near**2).sum(1)) ** 0.75
    np.testing.assert_allclose(layer(torch.from_numpy(a)).numpy(), wanted, rtol=1e-6)


def test_half_precision_takes_the_same_pixels_and_answers_in_float32() -> None:
    torch.manual_seed(0)
    network = AlexNet(classes=3).eval()
    image = torch.randint(0, 256, (1, 224, 224, 3), dtype=torch.uint8)
    with torch.inference_mode():
        wanted = Served(network)(image)
        got = Served(network.half())(image)
    assert got[0].dtype == got[1].dtype == torch.float32
    torch.testing.assert_close(got[0], wanted[0], atol=5e-3, rtol=0)


def test_normalisation_maps_pixels_to_eighths_of_sixteenths() -> None:
    pixels = torch.arange(256, dtype=torch.uint8).view(1, 16, 16, 1).expand(1, 16, 16, 3)
    got = normalise(pixels)
    assert got.shape == (1, 3, 16, 16)
    assert (got[0, 0, 0, 0], got[0, 0, 8, 0], got[0, 0, 15, 15]) == (-1, 0, 127 / 128)


def test_bad_arguments_are_named() -> None:
    with pytest.raises(ValueError, match="unknown variant 'vgg': want one of owt, paper"):
        AlexNet("vgg")
    with pytest.raises(ValueError, match="got 0 classes"):
        AlexNet(classes=0)
