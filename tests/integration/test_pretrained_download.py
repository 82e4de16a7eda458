"""The public convolutions, downloaded."""

import pytest

from training import pretrained as start


def test_the_real_convolutions_are_fetched_checked_and_kept(monkeypatch: pytest.MonkeyPatch) -> None:
    """The published weights: their first numbers are those that torchvision's users see printed."""
    path = start.fetch_convolutions(start.DOWNLOADS)
    monkeypatch.setattr("subprocess.run", None)  # the second time nothing is downloaded
    assert start.fetch_convolutions(start.DOWNLOADS) == path
    got = start.read_convolutions(path)
    assert got["features.0.weight"].shape == (64, 3, 11, 11)
    assert got["features.0.weight"][0, 0, 0, :3].tolist() == pytest.approx([0.1186, 0.0941, 0.0954], abs=1e-4)
