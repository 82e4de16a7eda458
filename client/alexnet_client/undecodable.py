"""An image that cannot be used, and the reasons there are."""

from __future__ import annotations

from alexnet_client.errors import AlexNetError


class UndecodableImage(AlexNetError, ValueError):
    """An image that cannot be used. ``reason`` is one of :data:`REASONS`, short enough for a metric's label."""

    def __init__(self, reason: str, message: str) -> None:
        super().__init__(reason, message)
        self.reason = reason

    def __str__(self) -> str:
        return str(self.args[1])


REASONS = (
    "empty",
    "too_many_bytes",
    "unknown_format",
    "too_many_pixels",
    "too_much_work",
    "unsupported",
    "corrupt",
)
