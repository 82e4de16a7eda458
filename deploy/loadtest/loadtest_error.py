"""What a user of the load tests can mend."""

from __future__ import annotations

from typing import ClassVar

from alexnet_client.errors import AlexNetError


class LoadTestError(AlexNetError):
    """A load that cannot be made, or a figure that cannot be had: nothing is told, neither good nor bad."""

    exit_status: ClassVar[int] = 3


class WrongUsage(LoadTestError):
    """Options that cannot be meant; argparse ends with the same status."""

    exit_status: ClassVar[int] = 2
