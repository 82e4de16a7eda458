"""Principal coordinates against numpy's own singular value decomposition."""

import numpy as np
import pytest
import torch
from torch import nn

from training.fit.principal import PrincipalCoordinates


@pytest.fixture
def features() -> torch.Tensor:
    generator = np.random.default_rng(0)
    spectrum = np.diag(10.0 * 0.3 ** np.arange(20))
    rotation = np.linalg.qr(generator.normal(size=(20, 20)))[0]
    return torch.from_numpy((generator.normal(size=(500, 20)) @ spectrum @ rotation + 3).astype(np.float32))


def test_the_coordinates_are_those_of_the_singular_value_decomposition(features: torch.Tensor) -> None:
    got = PrincipalCoordinates.fit(features, 5, seed=0)(features).numpy()
    x = features.numpy().astype(float)
    left, singular, _ = np.linalg.svd(x - x.mean(0), full_matrices=False)
    wanted = left[:, :5] * np.sqrt(singular[:5])
    wanted /= np.sqrt((wanted**2).mean())
    assert np.abs(np.abs(got) - np.abs(wanted)).max() < 1e-2  # a direction's sign is free
    assert (got**2).mean() == pytest.approx(1, rel=1e-3)


def test_a_folded_layer_answers_the_same_on_features(features: torch.Tensor) -> None:
    coordinates = PrincipalCoordinates.fit(features, 8, seed=0)
    layer = nn.Linear(8, 3)
    weight, bias = coordinates.fold(layer)
    torch.testing.assert_close(features @ weight.T + bias, layer(coordinates(features)), rtol=1e-4, atol=1e-4)


def test_the_same_seed_gives_the_same_bits_and_leaves_the_generator_alone(features: torch.Tensor) -> None:
    state = torch.random.get_rng_state()
    first, second = (PrincipalCoordinates.fit(features, 8, seed=1) for _ in range(2))
    assert torch.equal(first.basis, second.basis)
    assert torch.equal(torch.random.get_rng_state(), state)


def test_too_few_images_are_refused(features: torch.Tensor) -> None:
    with pytest.raises(ValueError, match="got 500 images for 501 components"):
        PrincipalCoordinates.fit(features, 501, seed=0)
