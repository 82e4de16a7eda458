"""Triton on this machine, from pip or from NVIDIA's container: ``python -m deploy.local --help``."""

from deploy.local.ports import Ports
from deploy.local.server import LocalServer, ServerError

__all__ = ["LocalServer", "Ports", "ServerError"]
