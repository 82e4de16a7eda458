"""Classify and embed images with an AlexNet that Triton Inference Server serves.

>>> from alexnet_client import AlexNetClient
>>> with AlexNetClient("127.0.0.1:8001") as client:
...     predictions = client.classify(["boot.png"])
...     vectors = client.embed(["boot.png", "sandal.png"])
...     predictions, vectors = client.classify_and_embed(["boot.png"])
"""

import os

# What gRPC has to say is in the errors. It reads this as it is imported: who imports it before keeps its log.
os.environ.setdefault("GRPC_VERBOSITY", "NONE")

from alexnet_client._aio import AsyncAlexNetClient
from alexnet_client._client import AlexNetClient
from alexnet_client._errors import (
    AnswerMismatch,
    ClientClosed,
    DeadlineExceeded,
    Failure,
    InvalidImage,
    InvalidRequest,
    NotPermitted,
    Overloaded,
    RequestError,
    ServerError,
    SharedMemoryWarning,
    Unavailable,
    UnknownModel,
)
from alexnet_client._images import ImageLike
from alexnet_client._results import (
    Answer,
    Health,
    ModelMetadata,
    ModelState,
    Prediction,
    PredictionsAndEmbedding,
    TensorMetadata,
)
from alexnet_client._retry import Retry
from alexnet_client._tls import TLS
from alexnet_client.errors import AlexNetError
from alexnet_client.outputs import Outputs

__all__ = [
    "TLS",
    "AlexNetClient",
    "AlexNetError",
    "Answer",
    "AnswerMismatch",
    "AsyncAlexNetClient",
    "ClientClosed",
    "DeadlineExceeded",
    "Failure",
    "Health",
    "ImageLike",
    "InvalidImage",
    "InvalidRequest",
    "ModelMetadata",
    "ModelState",
    "NotPermitted",
    "Outputs",
    "Overloaded",
    "Prediction",
    "PredictionsAndEmbedding",
    "RequestError",
    "Retry",
    "ServerError",
    "SharedMemoryWarning",
    "TensorMetadata",
    "Unavailable",
    "UnknownModel",
]
__version__ = "0.1.0"
