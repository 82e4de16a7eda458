"""``perf_analyzer``, Triton's own C++ load generator: it costs the server's machine less than a Python caller."""

from __future__ import annotations

import base64
import csv
import json
import struct
import subprocess
import sys
import tempfile
from pathlib import Path

from alexnet_client.contract import ENCODED, MODELS
from alexnet_client.errors import AlexNetError
from deploy.loadtest.measurement import FILES, TENSORS, Measurement

BINARY = Path(sys.executable).parent / "perf_analyzer"
#: Windows of a measurement; with this tolerance the first three are taken, whatever the noise: rounds average it out.
WINDOWS, ANY_STABILITY = 3, 999


class PerfAnalyzerError(AlexNetError):
    """It is not installed, or its run failed."""


def measure(url: str, model: str, callers: int, seconds: float, file: bytes | None = None) -> Measurement:
    """So many callers at once, each sending its next image when it has the answer to the last.

    Args:
        file: an image file, for a model that takes files; others get random pixels.

    Raises:
        PerfAnalyzerError: it is not installed, or its run failed; ends with what it said.
    """
    if not BINARY.is_file():
        raise PerfAnalyzerError("there is no perf_analyzer: run `bash deploy/serve/install.sh perf_analyzer`")
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        report = folder / "report.csv"
        command = [str(BINARY), "-m", model, "-u", url, "-i", "grpc", "-a", "-f", str(report)]
        command += ["--concurrency-range", str(callers), "-p", f"{1000 * seconds / WINDOWS:.0f}"]
        command += ["-s", str(ANY_STABILITY), "-r", str(WINDOWS)]
        if MODELS[model].takes_files:
            data = folder / "data.json"
            # This way in takes the bytes as they go over the wire, and there a string follows its length.
            content = struct.pack("<I", len(file or b"")) + (file or b"")
            data.write_text(json.dumps({"data": [{ENCODED.name: {"b64": base64.b64encode(content).decode()}}]}))
            command += ["--input-data", str(data), "--shape", f"{ENCODED.name}:1"]
        done = subprocess.run(command, capture_output=True, text=True, check=False, timeout=60 + 20 * seconds)
        if done.returncode or not report.is_file():
            raise PerfAnalyzerError(f"perf_analyzer failed on {model}: {(done.stderr or done.stdout).strip()[-500:]}")
        (row,) = csv.DictReader(report.read_text().splitlines())
    return Measurement(
        what=FILES if MODELS[model].takes_files else TENSORS,
        model=model,
        callers=callers,
        images_per_second=float(row["Inferences/Second"]),
        p50_ms=float(row["p50 latency"]) / 1000,
        p99_ms=float(row["p99 latency"]) / 1000,
    )
