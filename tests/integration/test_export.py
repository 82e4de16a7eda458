"""The exporter by its commands: graphs that agree, the same bytes again, and nothing unproved."""

from __future__ import annotations

import json
import random
import shutil
import signal
import subprocess
import sys
from pathlib import Path

import numpy as np
import onnx
import onnxruntime
import pytest
from PIL import Image

from alexnet_client.files import sha256
from export.artefacts import artefact, manifest
from export.graphs.int8_onnx import layer_types, scales
from export.proof.compare import compare
from export.proof.proof import Proof
from export.runtimes.onnx import OnnxRuntime
from export.runtimes.runtime import RuntimeFailure
from tests.artefacts import change
from tests.conftest import ROOT, TESTING, TRAINING, Built, command
from training.data.open import open_split


@pytest.fixture(scope="module")
def artefacts(engines: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The published artefacts, and FP16 and INT8 for TensorRT beside them."""
    folder = tmp_path_factory.mktemp("export") / "artefacts"
    folder.mkdir()
    for name in ("fp32", "fp16", "int8-cpu", "int8-tensorrt"):
        shutil.copytree(engines / "build/artefacts" / name, folder / name)
    return folder


@pytest.fixture(scope="module")
def pixels(built: Built) -> np.ndarray:
    images = open_split(built.data, "test")
    return np.stack([images[index][0] for index in range(0, len(images), len(images) // 16)])


def test_every_graph_has_the_contracts_inputs_and_outputs(artefacts: Path) -> None:
    for name in ("fp32", "fp16", "int8-cpu", "int8-tensorrt"):
        session = onnxruntime.InferenceSession(artefacts / name / "model.onnx", providers=["CPUExecutionProvider"])
        (image,) = session.get_inputs()
        assert (image.name, image.type, image.shape[1:]) == ("image", "tensor(uint8)", [224, 224, 3])
        assert isinstance(image.shape[0], str)  # any batch
        got = {output.name: (output.type, output.shape[1:]) for output in session.get_outputs()}
        shapes = {"probabilities": [10], "embedding": [4096], "checksum": [4, 4, 3]}
        assert got == {output: ("tensor(float)", shape) for output, shape in shapes.items()}


def test_weights_are_stored_in_the_precision_that_is_promised(artefacts: Path) -> None:
    wanted = {"fp32": "FLOAT", "fp16": "FLOAT16", "int8-cpu": "INT8", "int8-tensorrt": "INT8"}
    sizes = {}
    for name, kind in wanted.items():
        assert list(layer_types(artefacts / name / "model.onnx").values()) == [kind] * 8
        sizes[name] = (artefacts / name / "model.onnx").stat().st_size
    assert sizes["fp16"] / sizes["fp32"] == pytest.approx(0.5, abs=0.01)
    assert sizes["int8-cpu"] / sizes["fp32"] == pytest.approx(0.25, abs=0.01)


def test_the_pixels_are_the_first_quantised_activation(artefacts: Path) -> None:
    """No float arithmetic before the first convolution: the graph's input reaches it through a transpose only.

    The checksum's branch, which begins with a Cast, leads elsewhere.
    """
    graph = onnx.load(artefacts / "int8-cpu/model.onnx").graph
    transpose, cast = (node for node in graph.node if "image" in node.input)
    assert cast.op_type == "Cast"
    (dequantize,) = (node for node in graph.node if transpose.output[0] in node.input)
    assert (transpose.op_type, dequantize.op_type) == ("Transpose", "DequantizeLinear")
    assert not {"Sub", "Div"} & {node.op_type for node in graph.node}
    values = {entry.name: onnx.numpy_helper.to_array(entry) for entry in graph.initializer}
    scale, zero = (values[name] for name in dequantize.input[1:])
    assert (scale, zero, zero.dtype) == (1 / 128, 128, np.uint8)


def test_weights_of_the_cpu_scheme_cannot_saturate(artefacts: Path) -> None:
    """255 * 64 * 2 < 2 ** 15: the 16-bit sums of processors without VNNI hold any two products."""
    for entry in onnx.load(artefacts / "int8-cpu/model.onnx").graph.initializer:
        array = onnx.numpy_helper.to_array(entry)
        if array.dtype == np.int8 and array.ndim > 1:
            assert np.abs(array.astype(int)).max() <= 64


def test_the_tensorrt_scheme_is_symmetric(artefacts: Path) -> None:
    activations = scales(artefacts / "int8-tensorrt/model.onnx")
    assert all(zero == 0 for _, zero in activations.values())
    assert (1 / 128, 0) in activations.values()  # the pixels'


def test_any_batch_gives_the_same_answers(artefacts: Path, pixels: np.ndarray) -> None:
    for name in ("fp32", "int8-cpu"):
        predictor = OnnxRuntime(artefacts / name / "model.onnx")
        together = predictor(pixels)
        alone = [predictor(pixels[i : i + 1]) for i in range(len(pixels))]
        for part, whole in zip(zip(*alone, strict=True), together, strict=True):
            np.testing.assert_allclose(np.concatenate(part), whole, atol=1e-5, rtol=1e-4)


def test_fp16_and_the_tensorrt_scheme_keep_to_their_limits(artefacts: Path) -> None:
    records = [artefact.read(artefacts / name) for name in ("fp16", "int8-tensorrt")]
    assert [str(record.proof) for record in records] == ["passed", "passed"]
    assert [record.proof.reference.model for record in records] == [
        artefact.read(artefacts / "fp32").files["model.onnx"]
    ] * 2
    assert records[0].proof.comparison.max_abs_dp <= 5e-3
    assert records[1].proof.comparison.cosine >= 0.99


def test_manifests_tell_where_everything_comes_from(artefacts: Path, built: Built) -> None:
    fp32, int8 = artefact.read(artefacts / "fp32"), artefact.read(artefacts / "int8-cpu")
    assert fp32.parent == sha256(built.checkpoint / "model.safetensors")
    assert int8.parent == fp32.files["model.onnx"]
    assert int8.recipe.calibration.images == 512
    assert int8.proof.checks == ()  # as many as are wanted
    assert len(int8.recipe.calibration.pixels_sha256) == 64
    assert int8.proof.data.images == 10 * TESTING
    assert int8.proof.comparison.agreement >= 98
    assert int8.proof.comparison.cosine >= 0.99
    assert "onnxruntime" in int8.versions
    assert int8.command.startswith("python -m export int8 --scheme cpu")


def test_the_same_inputs_give_the_same_bytes_even_after_a_kill(artefacts: Path, built: Built, tmp_path: Path) -> None:
    target = tmp_path / "artefacts"
    commands = [
        ["export", "fp32", "--checkpoint", built.checkpoint, "--output", target],
        ["export", "int8", "--data", built.data, "--output", target],
    ]
    generator = random.Random(1)
    for each in commands:
        running = subprocess.Popen(
            [sys.executable, "-m", *map(str, each)], cwd=ROOT, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL
        )
        try:
            running.wait(generator.uniform(3, 9))
        except subprocess.TimeoutExpired:
            running.send_signal(signal.SIGKILL)
            running.wait()
        command(*each)
    for name in ("fp32", "int8-cpu"):
        verified = artefact.read(artefacts / name).files
        assert artefact.read(target / name).files.items() <= verified.items()
        for path in (target / name).rglob("*"):
            assert b"/tmp/" not in path.read_bytes()[:5_000] or path.name == manifest.FILE_NAME


def test_a_worse_artefact_fails_its_proof_and_is_not_published(built: Built, artefacts: Path, tmp_path: Path) -> None:
    """Weights of one layer doubled: the verdict says what broke, and publishing refuses it."""
    target = tmp_path / "artefacts"
    shutil.copytree(artefacts, target)
    graph = onnx.load(target / "int8-cpu/model.onnx")
    (scale,) = [
        e for e in graph.graph.initializer if e.name.startswith("network.features.6.weight") and "scale" in e.name
    ]
    scale.CopyFrom(onnx.numpy_helper.from_array(onnx.numpy_helper.to_array(scale) * 3, scale.name))
    onnx.save(graph, target / "int8-cpu/model.onnx")
    change(target / "int8-cpu", proof=Proof())
    where = ["--checkpoint", built.checkpoint, "--data", built.data, "--output", target, "--predictions", tmp_path]
    done = command("export", "verify", "int8-cpu", *where, "--predictions", built.predictions, status=1)
    assert "failed: top-1 agreement is" in done.stdout
    next_ones = done.stdout.split("  what to do next, any of these:\n")[1].splitlines()
    assert next_ones[2] == "  - FP32: `python -m export publish --precision fp32`"
    assert len(next_ones) == 4
    done = command("export", "publish", "--output", target, "--repository", tmp_path / "repository", status=1)
    assert "may not be published, its verdict is «failed: top-1 agreement" in done.stderr
    assert not (tmp_path / "repository").exists()


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["fp32", "--checkpoint", "/nowhere"], "/nowhere is no checkpoint"),
        (["int8", "--output", "/nowhere"], "/nowhere/fp32/manifest.json is missing"),
        (["verify", "fp32", "--output", "/nowhere"], "/nowhere/fp32/manifest.json is missing"),
        (["publish", "--output", "/nowhere"], "/nowhere/fp32/manifest.json is missing"),
    ],
)
def test_mistakes_are_one_line(arguments: list[str], message: str) -> None:
    done = command("export", *arguments, status=1)
    assert message in done.stderr
    assert len(done.stderr.splitlines()) == 1


def test_few_calibration_images_are_refused(built: Built, artefacts: Path) -> None:
    done = command("export", "int8", "--images", 31, "--data", built.data, "--output", artefacts, status=1)
    assert done.stderr == (
        f"python -m export int8: got 31 calibration images ({built.data} has {10 * TRAINING}, --images is 31): want at "
        "least 32, or FP32 alone: `python -m export publish --precision fp32`\n"
    )
    artefact.read(artefacts / "int8-cpu")  # still there


def test_another_checkpoints_artefact_is_told(built: Built, artefacts: Path, tmp_path: Path) -> None:
    from safetensors.torch import load_file, save_file

    other = tmp_path / "checkpoint"
    shutil.copytree(built.checkpoint, other)
    weights = load_file(other / "model.safetensors")
    weights["classifier.6.bias"] += 1
    save_file(weights, other / "model.safetensors")
    where = ["--checkpoint", other, "--data", built.data, "--output", artefacts, "--predictions", built.predictions]
    assert "was made from another checkpoint" in command("export", "verify", "fp32", *where, status=1).stderr


def test_data_of_other_classes_proves_nothing(built: Built, artefacts: Path, tmp_path: Path) -> None:
    (tmp_path / "test/cat").mkdir(parents=True)
    Image.new("RGB", (30, 30)).save(tmp_path / "test/cat/1.png")
    where = ["--checkpoint", built.checkpoint, "--data", tmp_path, "--output", artefacts]
    done = command("export", "verify", "fp32", *where, "--predictions", built.predictions, status=1)
    assert "has cat, " in done.stderr
    assert "want folders named by these labels or by ImageNet's WordNet ids" in done.stderr


def test_comparing_a_graph_with_itself_finds_nothing(artefacts: Path, pixels: np.ndarray) -> None:
    predictor = OnnxRuntime(artefacts / "fp32/model.onnx")
    assert compare(predictor(pixels), predictor(pixels)).max_abs_dp == 0
    with pytest.raises(RuntimeFailure, match="export it first"):
        OnnxRuntime(artefacts / "fp8/model.onnx")


def test_help_teaches() -> None:
    assert "Nothing unproved is published" in command("export", "--help").stdout


def test_json_of_every_manifest_is_sorted_and_ends_with_a_line(artefacts: Path) -> None:
    for path in artefacts.rglob(manifest.FILE_NAME):
        text = path.read_text()
        assert json.dumps(json.loads(text), indent=2, sort_keys=True) + "\n" == text
