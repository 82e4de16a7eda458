"""The proof of what has no weights: a decoder's and an ensemble's own checks, made on the files that are published."""

from __future__ import annotations

import ast
from pathlib import Path

from google.protobuf import text_format
from tritonclient.grpc.model_config_pb2 import DataType, ModelConfig

from alexnet_client.contract import PROBABILITIES, Model
from alexnet_client.fingerprint import preprocessing_fingerprint
from export.artefacts import artefact
from export.artefacts.manifest import ManifestError
from export.proof.proof import Proof, Verdict

CONFIG = "config.pbtxt"
#: Triton's configuration writes BYTES as STRING.
WIRE = {"STRING": "BYTES"}


def prove(model: Path, number: int, contract: Model, needs: tuple[str, ...]) -> Proof:
    """Check a staged model: names, types, shapes and steps are the contract's, its code is Python, its labels fit.

    Args:
        number: its version.
        needs: the models that it is to ask.

    Raises:
        ManifestError: something does not fit; names it.
    """
    config = _config(model / CONFIG)
    for kind, got, wanted in (("inputs", config.input, contract.inputs), ("outputs", config.output, contract.outputs)):
        names = [(entry.name, _wire(entry.data_type)) for entry in got]
        if names != [(tensor.name, tensor.dtype) for tensor in wanted]:
            raise ManifestError(f"{model / CONFIG} has the {kind} {names}: want those of the contract")
        for entry, tensor in zip(got, wanted, strict=True):
            if any(side not in (-1, dim) for dim, side in zip(entry.dims, tensor.shape, strict=True)):
                raise ManifestError(f"{model / CONFIG}: {entry.name} has shape {list(entry.dims)}: want {tensor.shape}")
    checks = ["its inputs and outputs are the contract's"]
    steps = tuple(step.model_name for step in config.ensemble_scheduling.step)
    if steps != needs:
        raise ManifestError(
            f"{model / CONFIG} asks {', '.join(steps) or 'no model'}: want {', '.join(needs) or 'none'}"
        )
    if needs:
        checks.append(f"it asks {' and then '.join(needs)}")
    if PROBABILITIES in contract.outputs:
        classes = next(entry.dims[0] for entry in config.output if entry.name == PROBABILITIES.name)
        labels = artefact.read_labels(model)
        if len(labels) != classes:
            raise ManifestError(f"{model} has {len(labels)} labels for {classes} classes: export it again")
        checks.append("it has a label for each class")
    for path in sorted((model / str(number)).glob("*.py")):
        try:
            ast.parse(path.read_text(), str(path))
        except SyntaxError as error:
            raise ManifestError(f"{path} is no Python ({error}): restore model_repository") from error
        checks.append(f"{path.name} is Python")
    return Proof(Verdict.PASSED, (), preprocessing=preprocessing_fingerprint(), checks=tuple(checks))


def _config(path: Path) -> ModelConfig:
    try:
        return text_format.Parse(path.read_text(), ModelConfig())
    except text_format.ParseError as error:
        raise ManifestError(f"{path} is no model configuration ({error}): restore model_repository") from error


def _wire(data_type: int) -> str:
    name = str(DataType.Name(data_type)).removeprefix("TYPE_")
    return WIRE.get(name, name)
