"""Questions to a running tritonserver: is a model loaded, and does it answer with a real inference."""

from __future__ import annotations

import io
from collections.abc import Callable
from functools import cache

import numpy as np
from PIL import Image
from tritonclient.grpc import InferenceServerClient, InferInput, InferRequestedOutput
from tritonclient.utils import InferenceServerException

from alexnet_client.contract import IMAGE, IMAGE_SIDE, MODELS


class Probe:
    """A connection to one server."""

    def __init__(self, url: str) -> None:
        """Name it.

        Args:
            url: ``host:port``, or ``unix:PATH``.
        """
        self._client = InferenceServerClient(url)

    def live(self) -> bool:
        """Whether the server answers at all."""
        try:
            return bool(self._client.is_server_live(client_timeout=1))
        except InferenceServerException:
            return False

    def states(self) -> dict[str, tuple[str, str]]:
        """Model -> state (READY, UNAVAILABLE, LOADING...) and reason, of its newest version."""
        index = self._client.get_model_repository_index(client_timeout=5)
        newest = sorted(index.models, key=lambda entry: int(entry.version or 0))
        return {entry.name: (entry.state, entry.reason) for entry in newest}

    def infer(self, model: str, timeout: float = 5.0) -> None:
        """One real inference.

        Raises:
            InferenceServerException: the model does not answer.
        """
        tensors, outputs = _question(model)
        self._client.infer(model, tensors, outputs=outputs, client_timeout=timeout)

    def ask(self, model: str, heard: Callable[[], None], timeout: float) -> None:
        """One real inference that is not waited for.

        Args:
            heard: called, in a thread of gRPC's, when there is an answer; a refusal is one too.
            timeout: seconds after which that there was none counts as one.
        """
        tensors, outputs = _question(model)
        self._client.async_infer(
            model, tensors, outputs=outputs, callback=lambda *_, **__: heard(), client_timeout=timeout
        )

    def answers(self, model: str) -> bool:
        """Whether :meth:`infer` succeeds."""
        try:
            self.infer(model)
        except InferenceServerException:
            return False
        return True

    def close(self) -> None:
        """Close the connection."""
        self._client.close()


def _question(model: str) -> tuple[list[InferInput], list[InferRequestedOutput]]:
    contract = MODELS[model]
    (wanted,) = contract.inputs
    tensor = InferInput(wanted.name, [1, *wanted.shape], wanted.dtype)
    grey = np.array([[_grey_png()]], dtype=object) if contract.takes_files else np.zeros((1, *IMAGE.shape), np.uint8)
    tensor.set_data_from_numpy(grey)
    return [tensor], [InferRequestedOutput(contract.outputs[0].name)]


@cache
def _grey_png() -> bytes:
    file = io.BytesIO()
    Image.new("L", (IMAGE_SIDE, IMAGE_SIDE), 128).save(file, "PNG")
    return file.getvalue()
