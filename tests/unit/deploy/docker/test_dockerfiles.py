"""The Dockerfiles, by the linter that their users have."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path

import pytest
import yaml

from tests.charts import CHART
from tests.conftest import ROOT

DOCKERFILES = sorted((ROOT / "deploy" / "docker").glob("Dockerfile*"))


@pytest.mark.parametrize("dockerfile", DOCKERFILES, ids=lambda path: path.name)
def test_hadolint_has_nothing_to_say(dockerfile: Path) -> None:
    command = [Path(sys.executable).with_name("hadolint"), dockerfile]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr


@pytest.mark.parametrize("dockerfile", DOCKERFILES, ids=lambda path: path.name)
def test_the_image_listens_where_the_chart_expects_it(dockerfile: Path) -> None:
    server = yaml.safe_load((CHART / "values.yaml").read_text())["server"]
    assert f"EXPOSE {server['grpcPort']} {server['metricsPort']}" in dockerfile.read_text().splitlines()
    assert re.search(r"^USER \d+:\d+$", dockerfile.read_text(), re.MULTILINE)  # as runAsNonRoot wants it
