"""The dense layers alone, trained on the features of convolutions that stay as they are."""

from __future__ import annotations

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from alexnet_client.contract import EMBEDDING_LENGTH
from training.data.image_set import ImageSet
from training.fit.examples import Split, TensorExamples
from training.fit.features import cached_features
from training.fit.loop import Epoch, fit
from training.fit.principal import PrincipalCoordinates
from training.fit.run import Run
from training.model import AlexNet

#: Images that the principal components are found on.
PRINCIPAL_SAMPLE = 4096


def fit_dense(
    network: AlexNet, images: ImageSet, training: NDArray[np.int64], validation: NDArray[np.int64], run: Run
) -> list[Epoch]:
    """Train the dense layers of ``network`` in place, on images chosen by number.

    Raises:
        training.fit.loop.TrainingError: see :func:`training.fit.loop.fit`.
        training.data.image_set.DataError: an image cannot be read any more.
    """
    chosen = np.concatenate((training, validation))
    features = cached_features(network.features, images, chosen, run)
    targets = torch.from_numpy(images.targets[chosen])
    if not run.recipe.components:
        return fit(network.classifier, _split(features, targets, len(training)), run)
    sample = features[: min(len(training), PRINCIPAL_SAMPLE)].float()
    coordinates = PrincipalCoordinates.fit(sample, run.recipe.components, run.recipe.seed)
    inputs = torch.cat([coordinates(part.float()) for part in torch.split(features, PRINCIPAL_SAMPLE)])
    del features
    # Dropout goes where the paper has it, on the outputs of both hidden layers: coordinates are not to be dropped.
    dropout, _, *hidden, logits = network.classifier
    first = nn.Linear(run.recipe.components, EMBEDDING_LENGTH)
    history = fit(nn.Sequential(first, *hidden, dropout, logits), _split(inputs, targets, len(training)), run)
    folded = network.classifier[1]
    folded.weight.data, folded.bias.data = coordinates.fold(first.cpu())
    return history


def _split(inputs: Tensor, targets: Tensor, count: int) -> Split:
    """The first ``count`` are for training."""
    return Split(TensorExamples(inputs[:count], targets[:count]), TensorExamples(inputs[count:], targets[count:]))
