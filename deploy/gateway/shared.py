"""What the gateway has in common with the doors behind it, for a chart that cannot read Python.

``python -m deploy.gateway.shared`` writes it anew; a test holds the chart's copy against it.
"""

from __future__ import annotations

import json
from pathlib import Path

from alexnet_client.contract import MAX_REQUEST_BYTES, OVERLOADED, TOO_LARGE, TRACK
from alexnet_client.files import atomic_path
from deploy.gateway.canary import PERCENT
from deploy.serve.envoy import CONNECTION_WINDOW, HEALTH, INFER, METHODS, SERVICE, STREAM_WINDOW

FILE = Path(__file__).parents[1] / "helm" / "alexnet-serving" / "files" / "shared.json"


def shared() -> str:
    """The file's text."""
    said = {
        "calls": [f"{SERVICE}/{method}" for method in METHODS],
        "infer": INFER,
        "health": HEALTH,
        "track": TRACK,
        "canaryPercent": PERCENT,
        "maxRequestBytes": MAX_REQUEST_BYTES,
        "streamWindow": STREAM_WINDOW,
        "connectionWindow": CONNECTION_WINDOW,
        "overloaded": OVERLOADED,
        "tooLarge": f"{TOO_LARGE} {MAX_REQUEST_BYTES:,} bytes: send fewer images at once",
    }
    return json.dumps(said, indent=2) + "\n"


if __name__ == "__main__":
    with atomic_path(FILE) as partial:
        partial.write_text(shared())
