"""The pipeline as it is: training -> export -> model repository, each stage from the files of the one before."""

from __future__ import annotations

from dataclasses import replace
from importlib.metadata import version
from pathlib import Path

from alexnet_client import contract
from alexnet_client.fingerprint import preprocessing_fingerprint
from deploy.pipeline.stage import Stage
from export.runtimes import onnx

#: The checkout, whose code is an input of every stage.
ROOT = Path(__file__).resolve().parents[2]
BUILD = Path("build")
DATA = BUILD / "fashion-mnist"
CHECKPOINT = BUILD / "checkpoint"
EVALUATION = BUILD / "evaluation"
ARTEFACTS = BUILD / "artefacts"
PREDICTIONS = BUILD / "predictions"
REPOSITORY = BUILD / "repository"
DEMO = BUILD / "demo"
#: What the server answered for the whole test split: top-1 by model, and the embedding of the ensemble's precision.
SERVED = DEMO / "served"
ACCURACY_FILE, EMBEDDING_FILE = "accuracy.json", "embedding.npy"

#: Published by the ``cpu`` target, and the artefact that answers as each model.
PUBLISHED = {"alexnet_fp32": "fp32", "alexnet_int8": "int8-cpu"}
ENSEMBLE_PRECISION = "int8"

_CONTRACT = (Path(contract.__file__), Path(contract.__file__).with_name("preprocess.py"), ROOT / "constraints.txt")
_TRAINING = (ROOT / "training", *_CONTRACT)
_EXPORT = (ROOT / "export", *_TRAINING)
_SERVER = (
    *(ROOT / "deploy" / part for part in ("serve", "backends", "pipeline")),
    ROOT / "client/alexnet_client",
    *_EXPORT,
)


def _conditions() -> tuple[str, ...]:
    """What decides a stage's outputs beside its files: the runtimes as they are installed, and the preprocessing."""
    return f"torch {version('torch')}", onnx.identity_of("").key, preprocessing_fingerprint()


#: What engines are built from, and for: Turing, A100, other Ampere, Ada, consumer Blackwell.
ENGINE_GRAPHS = ("fp16", "int8-tensorrt")
CAPABILITIES = ("sm75", "sm80", "sm86", "sm89", "sm120")


def stages(recipe: str, data: Path) -> list[Stage]:
    """Every stage from the data set to the published repository, in order; other data than ours is not fetched."""
    fetch = Stage("dataset", ("training", "fetch", "fashion-mnist", "--output", str(DATA)), [], [DATA])
    where = ("--data", str(data))
    made_from = ("--checkpoint", str(CHECKPOINT))
    artefacts = [ARTEFACTS / name for name in PUBLISHED.values()]
    graphs = [folder / "model.onnx" for folder in artefacts]
    weights = CHECKPOINT / "model.safetensors"
    every = [
        *([fetch] if data == DATA else []),
        Stage(
            "training",
            ("training", "train", "--recipe", recipe, *where, "--output", str(CHECKPOINT)),
            [data, *_TRAINING],
            [weights, CHECKPOINT / "meta.json"],
        ),
        Stage(
            "evaluation",
            ("training", "evaluate", *made_from, *where, "--output", str(EVALUATION)),
            [weights, data, *_TRAINING],
            [EVALUATION],
        ),
        Stage("export-fp32", ("export", "fp32", *made_from), [weights, *_EXPORT], [graphs[0]]),
        Stage("export-int8", ("export", "int8", "--scheme", "cpu", *where), [graphs[0], data, *_EXPORT], [graphs[1]]),
        Stage(
            "verification",
            ("export", "verify", *made_from, *where, *PUBLISHED.values()),
            [weights, *graphs, data, *_EXPORT],
            artefacts,
        ),
        Stage(
            "publishing",
            ("export", "publish", "--precision", ENSEMBLE_PRECISION, *PUBLISHED.values()),
            [*artefacts, ROOT / "model_repository", *_EXPORT],
            [REPOSITORY],
        ),
        Stage("served-accuracy", ("deploy.pipeline.served", *where), [REPOSITORY, data, *_SERVER], [SERVED]),
    ]
    return [replace(stage, conditions=_conditions()) for stage in every]


def engine_stages(data: Path) -> list[Stage]:
    """From the FP32 graph to engines; verification leaves the golden batch that proves each on its GPU."""
    where, made_from = ("--data", str(data)), ("--checkpoint", str(CHECKPOINT))
    weights, fp32 = CHECKPOINT / "model.safetensors", ARTEFACTS / "fp32" / "model.onnx"
    folders = [ARTEFACTS / name for name in ENGINE_GRAPHS]
    graphs = [folder / "model.onnx" for folder in folders]
    names = [f"{graph}-{capability}" for graph in ENGINE_GRAPHS for capability in CAPABILITIES]
    plans = [ARTEFACTS / name / "model.plan" for name in names]
    every = [
        Stage("export-fp16", ("export", "fp16", *made_from), [weights, *_EXPORT], [graphs[0]]),
        Stage(
            "export-int8-tensorrt",
            ("export", "int8", "--scheme", "tensorrt", *where),
            [fp32, data, *_EXPORT],
            [graphs[1]],
        ),
        Stage(
            "verification-graphs",
            ("export", "verify", *made_from, *where, *ENGINE_GRAPHS),
            [weights, fp32, *graphs, data, *_EXPORT],
            folders,
        ),
        Stage("engines", ("export", "engine", *ENGINE_GRAPHS, "--gpu", *CAPABILITIES), [*folders, *_EXPORT], plans),
    ]
    return [replace(stage, conditions=_conditions()) for stage in every]
