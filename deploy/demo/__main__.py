"""``make demo``: from Fashion-MNIST to a served, verified AlexNet. ``python -m deploy.demo --help``."""

from __future__ import annotations

import argparse
import json
import sys
import time
import urllib.request
from pathlib import Path
from typing import Any

import numpy as np

from alexnet_client import command
from alexnet_client.contract import DECODE_SECONDS, IMAGES_TOTAL, INFERENCE_SECONDS
from alexnet_client.files import atomic_path
from deploy.demo import show
from deploy.pipeline import stages as pipeline
from deploy.pipeline.stage import Done, run
from deploy.serve.server import LocalServer
from export.artefacts import artefact, manifest
from export.proof.proof import Proof
from training.data.open import open_split

SAMPLES = 5
METRICS = (
    f"{DECODE_SECONDS.name}_count",
    IMAGES_TOTAL.name,
    f"{INFERENCE_SECONDS.name}_bucket",
    "nv_inference_count",
)


def main() -> int:
    """Run the pipeline, serve the repository, ask it, and write the report."""
    parser = argparse.ArgumentParser(prog="python -m deploy.demo", description=main.__doc__)
    parser.add_argument("--recipe", default="demo", help="training recipe (%(default)s)")
    parser.add_argument(
        "--data", type=Path, default=pipeline.DATA, help="an image folder, split/class/*.jpg, in place of Fashion-MNIST"
    )
    options = parser.parse_args()
    return command.run("make demo", lambda: _run(options), "interrupted; run it again to go on from here")


def _run(options: argparse.Namespace) -> int:
    started = time.monotonic()
    stages = pipeline.stages(options.recipe, options.data)
    return _serve(options.data, {stage.name: run(stage, pipeline.DEMO / "stages") for stage in stages}, started)


def _serve(data: Path, done: dict[str, Done], started: float) -> int:
    images = open_split(data, "test")
    records = {model: artefact.read(pipeline.ARTEFACTS / name) for model, name in pipeline.PUBLISHED.items()}
    served = json.loads((pipeline.SERVED / pipeline.ACCURACY_FILE).read_text())
    embedding = np.load(pipeline.SERVED / pipeline.EMBEDDING_FILE)
    _title("server")
    with LocalServer(pipeline.REPOSITORY, use_free_ports=True) as server:
        print(f"  gRPC {server.grpc_url}, metrics {server.metrics_url}")
        _title("classification: PNG files through gRPC, decoded by the server")
        samples = show.write_samples(images, pipeline.DEMO / "samples", SAMPLES)
        show.classify(server.grpc_url, [path for _, path in samples])
        _title("embedding: nearest neighbours among the test images")
        picture = pipeline.DEMO / "neighbours.png"
        show.neighbours(server.grpc_url, samples, images, embedding, picture)
        _title("metrics")
        _metrics(server.metrics_url)
    _title("artefacts")
    report = _report(done, records, served, time.monotonic() - started)
    _table(report["artefacts"])
    path = pipeline.DEMO / "report.json"
    with atomic_path(path) as partial:
        partial.write_text(json.dumps(report, indent=2) + "\n")
    _title("where everything lies")
    for what, place in (
        ("training curve", pipeline.CHECKPOINT / "curve.png"),
        ("confusion matrix", pipeline.EVALUATION / "confusion.png"),
        ("neighbours", picture),
        ("checkpoint", pipeline.CHECKPOINT),
        ("artefacts, manifests", pipeline.ARTEFACTS),
        ("model repository", pipeline.REPOSITORY),
        ("every figure", path),
    ):
        print(f"  {what:21} {place}")
    print(f"\nmake demo: done in {report['seconds']:.0f} s. `make serve` serves this repository.")
    return 0


def _report(
    done: dict[str, Done], records: dict[str, manifest.Manifest], served: dict[str, float], seconds: float
) -> dict[str, Any]:
    evaluation = json.loads((pipeline.EVALUATION / "evaluation.json").read_text())
    return {
        "training": {"seconds": round(done["training"].seconds, 1), "top1": evaluation["top1"]},
        "artefacts": {
            model: {
                "sha256": record.files[artefact.MODEL_FILE],
                "bytes": (pipeline.ARTEFACTS / pipeline.PUBLISHED[model] / artefact.MODEL_FILE).stat().st_size,
                **_figures(record.proof),
            }
            for model, record in records.items()
        },
        "served": {model: {"top1": top1} for model, top1 in served.items()},
        "stages": {name: {"seconds": round(d.seconds, 1), "skipped": d.skipped} for name, d in done.items()},
        "seconds": round(seconds, 1),
    }


def _figures(proof: Proof) -> dict[str, float | None]:
    accuracy, comparison = proof.accuracy, proof.comparison
    names = ("max_abs_dp", "agreement", "cosine")
    return {
        **{name: getattr(accuracy, name, None) for name in ("top1", "top5")},
        **{name: getattr(comparison, name, None) for name in names},
    }


def _table(artefacts: dict[str, dict[str, Any]]) -> None:
    print(
        f"  {'model':14}{'MB':>7}{'top-1 %':>9}{'top-5 %':>9}{'max |Δp|':>10}{'agreement %':>13}{'cosine':>9}  SHA-256"
    )
    for model, row in artefacts.items():
        print(
            f"  {model:14}{row['bytes'] / 1e6:7.1f}{row['top1']:9.2f}{row['top5']:9.2f}{row['max_abs_dp']:10.1e}"
            f"{row['agreement']:13.2f}{row['cosine']:9.4f}  {row['sha256'][:16]}…"
        )


def _metrics(url: str) -> None:
    with urllib.request.urlopen(url) as answer:
        lines = answer.read().decode().splitlines()
    for line in lines:
        if line.startswith(METRICS):
            print(f"  {line}")


def _title(text: str) -> None:
    print(f"\n== {text}", flush=True)


if __name__ == "__main__":
    sys.exit(main())
