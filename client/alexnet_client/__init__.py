"""Classify and embed images with an AlexNet that Triton Inference Server serves.

>>> from alexnet_client import AlexNetClient
>>> with AlexNetClient("127.0.0.1:8001") as client:
...     predictions = client.classify(["boot.png"])
...     vectors = client.embed(["boot.png", "sandal.png"])
...     predictions, vectors = client.classify_and_embed(["boot.png"])
"""

from alexnet_client._client import AlexNetClient
from alexnet_client._errors import (
    DeadlineExceeded,
    InvalidImage,
    InvalidRequest,
    Overloaded,
    ServerError,
    Unavailable,
    UnknownModel,
)
from alexnet_client._images import ImageLike
from alexnet_client._results import Health, Prediction, PredictionsAndEmbedding
from alexnet_client.errors import AlexNetError
from alexnet_client.outputs import Outputs

__all__ = [
    "AlexNetClient",
    "AlexNetError",
    "DeadlineExceeded",
    "Health",
    "ImageLike",
    "InvalidImage",
    "InvalidRequest",
    "Outputs",
    "Overloaded",
    "Prediction",
    "PredictionsAndEmbedding",
    "ServerError",
    "Unavailable",
    "UnknownModel",
]
__version__ = "0.1.0"
