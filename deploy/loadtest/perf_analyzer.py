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
from deploy.loadtest.idle import Idle
from deploy.loadtest.measurement import FILES, TENSORS, Measurement

BINARY = Path(sys.executable).parent / "perf_analyzer"
#: Windows of a measurement; with this tolerance the first three are taken, whatever the noise: rounds average it out.
WINDOWS, ANY_STABILITY = 3, 999
#: A window lasts so many calls of one caller at least: one without an answer is an error to perf_analyzer.
CALLS_A_WINDOW = 5


class PerfAnalyzerError(AlexNetError):
    """It is not installed, or its run failed."""


def measure(
    url: str,
    model: str,
    callers: int,
    seconds: float,
    file: bytes | None = None,
    *,
    speed: float | None = None,
) -> Measurement:
    """So many callers at once, each sending its next image when it has the answer to the last.

    Args:
        seconds: of the load; more where ``speed`` says that a call takes long.
        file: an image file, for a model that takes files; others get random pixels.
        speed: images a second that may be expected.

    Raises:
        PerfAnalyzerError: it is not installed, or its run failed; ends with what it said.
    """
    if not BINARY.is_file():
        raise PerfAnalyzerError("there is no perf_analyzer: run `bash deploy/serve/install.sh perf_analyzer`")
    window = window_seconds(callers, seconds, speed)
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        report = folder / "report.csv"
        command = [str(BINARY), "-m", model, "-u", url, "-i", "grpc", "-a", "-f", str(report)]
        command += ["--concurrency-range", str(callers), "-p", f"{1000 * window:.0f}"]
        command += ["-s", str(ANY_STABILITY), "-r", str(WINDOWS)]
        if MODELS[model].takes_files:
            data = folder / "data.json"
            # This way in takes the bytes as they go over the wire, and there a string follows its length.
            content = struct.pack("<I", len(file or b"")) + (file or b"")
            data.write_text(json.dumps({"data": [{ENCODED.name: {"b64": base64.b64encode(content).decode()}}]}))
            command += ["--input-data", str(data), "--shape", f"{ENCODED.name}:1"]
        with Idle() as idle:
            patience = 60 + 20 * window * WINDOWS
            done = subprocess.run(command, capture_output=True, text=True, check=False, timeout=patience)
        if done.returncode or not report.is_file():
            raise PerfAnalyzerError(f"perf_analyzer failed on {model}: {(done.stderr or done.stdout).strip()[-500:]}")
        (row,) = csv.DictReader(report.read_text().splitlines())
        return Measurement(
            FILES if MODELS[model].takes_files else TENSORS,
            model,
            float(row["Inferences/Second"]),
            float(row["p50 latency"]) / 1000,
            float(row["p99 latency"]) / 1000,
            callers=callers,
            idle=idle.share,
        )


def window_seconds(callers: int, seconds: float, speed: float | None = None) -> float:
    """How long a window lasts, so that every caller gets several answers in it.

    Args:
        seconds: wanted for all windows together.
        speed: images a second that may be expected.
    """
    call = callers / speed if speed else 0.0
    return max(seconds / WINDOWS, CALLS_A_WINDOW * call)
