"""``perf_analyzer``, Triton's own C++ load generator: it costs the server's machine less than a Python caller."""

from __future__ import annotations

import base64
import csv
import importlib.util
import json
import os
import subprocess
import sys
import tempfile
from functools import cache
from pathlib import Path

from alexnet_client.contract import ENCODED, ENSEMBLE
from deploy.loadtest.measurement import FILES, TENSORS, Measurement

BINARY = Path(sys.executable).parent / "perf_analyzer"
#: Windows of a measurement; with this tolerance the first three are taken, whatever the noise: rounds average it out.
WINDOWS, ANY_STABILITY = 3, 999


class PerfAnalyzerError(RuntimeError):
    """It is not installed, or its run failed."""


@cache
def environment() -> dict[str, str]:
    """Environment in which ``perf_analyzer`` finds libcudart, which it is linked to and never calls.

    Raises:
        PerfAnalyzerError: it, or the pip package that carries the library, is not installed.
    """
    spec = importlib.util.find_spec("pytriton")
    libraries = Path(str(spec.origin)).parents[1] / "nvidia_pytriton.libs" if spec else Path()
    carried = sorted(libraries.glob("libcudart-*.so.12*"))
    if not BINARY.is_file() or not carried:
        raise PerfAnalyzerError("there is no perf_analyzer: run `bash deploy/local/install.sh perf_analyzer`")
    folder = BINARY.parents[1] / "lib" / "perf_analyzer"
    folder.mkdir(exist_ok=True)
    link = folder / "libcudart.so.12"
    if not link.is_symlink():
        link.symlink_to(carried[0])
    return {**os.environ, "LD_LIBRARY_PATH": str(folder)}


def measure(url: str, model: str, callers: int, seconds: float, file: bytes | None = None) -> Measurement:
    """So many callers at once, each sending its next image when it has the answer to the last.

    Args:
        file: an image file, for the ensemble; other models get random pixels.

    Raises:
        PerfAnalyzerError: it is not installed, or its run failed; ends with what it said.
    """
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        report = folder / "report.csv"
        command = [str(BINARY), "-m", model, "-u", url, "-i", "grpc", "-a", "-f", str(report)]
        command += ["--concurrency-range", str(callers), "-p", f"{1000 * seconds / WINDOWS:.0f}"]
        command += ["-s", str(ANY_STABILITY), "-r", str(WINDOWS)]
        if model == ENSEMBLE:
            data = folder / "data.json"
            encoded = base64.b64encode(file or b"").decode()
            data.write_text(json.dumps({"data": [{ENCODED.name: {"b64": encoded}}]}))
            command += ["--input-data", str(data), "--shape", f"{ENCODED.name}:1"]
        done = subprocess.run(
            command, env=environment(), capture_output=True, text=True, check=False, timeout=60 + 20 * seconds
        )
        if done.returncode or not report.is_file():
            raise PerfAnalyzerError(f"perf_analyzer failed on {model}: {(done.stderr or done.stdout).strip()[-500:]}")
        (row,) = csv.DictReader(report.read_text().splitlines())
    return Measurement(
        what=FILES if model == ENSEMBLE else TENSORS,
        model=model,
        callers=callers,
        images_per_second=float(row["Inferences/Second"]),
        p50_ms=float(row["p50 latency"]) / 1000,
        p99_ms=float(row["p99 latency"]) / 1000,
    )
