"""Providers: which is taken, and what a missing or an old one is told."""

import sys
from types import SimpleNamespace

import pytest

from export.engines import provider
from export.engines.provider import ProviderError


def pretend(monkeypatch: pytest.MonkeyPatch, **versions: str | None) -> None:
    """Libraries of these versions are installed; those of None are not."""
    for name, version in versions.items():
        module = None if version is None else SimpleNamespace(__version__=version)
        monkeypatch.setitem(sys.modules, name, module)


@pytest.mark.parametrize("version", ["10.12.0.36", "10.13.3.9", "11.0.0.114"])
def test_tensorrt_is_taken_first(monkeypatch: pytest.MonkeyPatch, version: str) -> None:
    pretend(monkeypatch, tensorrt=version, tensorrt_rtx="1.7.1.116")
    found = provider.find()
    assert str(found) == f"tensorrt {version}"
    assert not found.builds_ahead
    assert found.capabilities() == ()
    assert provider.find("tensorrt_rtx").name == "tensorrt_rtx"


def test_one_that_is_too_old_is_named_with_the_remedy(monkeypatch: pytest.MonkeyPatch) -> None:
    pretend(monkeypatch, tensorrt="10.3.0")
    with pytest.raises(ProviderError, match=r"got tensorrt 10\.3\.0: want 10\.12 or newer: .*pip install"):
        provider.find()


def test_none_says_how_to_install_either(monkeypatch: pytest.MonkeyPatch) -> None:
    pretend(monkeypatch, tensorrt=None, tensorrt_rtx=None)
    with pytest.raises(ProviderError, match=r"is not installed: .*\[tensorrt-rtx\].*\[tensorrt\].*nvcr\.io"):
        provider.find()
    with pytest.raises(ProviderError, match=r"tensorrt is not installed: .*nvcr\.io"):
        provider.find("tensorrt")


def test_the_installed_rtx_builds_ahead_for_turing_to_blackwell() -> None:
    rtx = provider.find("tensorrt_rtx")
    assert rtx.builds_ahead
    assert {"sm75", "sm80", "sm86", "sm89", "sm120"} <= set(rtx.capabilities())
