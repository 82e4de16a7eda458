"""Triton on this machine, from pip or from NVIDIA's container: ``python -m deploy.serve --help``."""
