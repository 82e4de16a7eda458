"""``perf_analyzer``, Triton's own C++ load generator: it costs the server's machine less than a Python caller."""

from __future__ import annotations

import importlib.util
import os
import shutil
import tempfile
from functools import cache
from pathlib import Path


class PerfAnalyzerMissing(RuntimeError):
    """It is not installed."""


@cache
def environment() -> dict[str, str]:
    """Environment in which ``perf_analyzer`` finds itself and libcudart, which it is linked to and never calls.

    Raises:
        PerfAnalyzerMissing: it, or the pip package that carries the library, is not installed.
    """
    spec = importlib.util.find_spec("pytriton")
    libraries = Path(str(spec.origin)).parents[1] / "nvidia_pytriton.libs" if spec else Path()
    carried = sorted(libraries.glob("libcudart-*.so.12*"))
    if shutil.which("perf_analyzer") is None or not carried:
        raise PerfAnalyzerMissing("there is no perf_analyzer: run `bash deploy/local/install.sh perf_analyzer`")
    folder = Path(tempfile.gettempdir()) / f"alexnet-perf-analyzer-{os.getuid()}"
    folder.mkdir(mode=0o700, exist_ok=True)
    link = folder / "libcudart.so.12"
    link.unlink(missing_ok=True)
    link.symlink_to(carried[0])
    return {**os.environ, "LD_LIBRARY_PATH": str(folder)}
