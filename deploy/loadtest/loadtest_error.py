"""What a user of the load tests can mend."""

from __future__ import annotations

from alexnet_client.errors import AlexNetError


class LoadTestError(AlexNetError):
    """A load that cannot be made, or a figure that cannot be had."""
