"""Why a question about size has no answer."""

from __future__ import annotations

from alexnet_client.errors import AlexNetError


class SizingError(AlexNetError):
    """Figures that cannot be, or that no number of replicas reaches."""
