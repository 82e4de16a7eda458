"""Which plan of a published model is for a GPU, why none is, and how one is proved."""

from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest

from export.artefacts.manifest import Manifest, ManifestError, Recipe
from export.engines import plans, provider
from export.engines.gpu import Gpu, UnknownGpu, capability, triton_key
from export.engines.plan import Plan
from export.proof import golden
from export.proof.golden import Proofs
from export.proof.proof import WITHOUT_DEVICE, Limits, Verdict
from export.runtimes.onnx import OnnxRuntime
from tests import graphs

ADA = Gpu("NVIDIA L4", "sm89", "580.65", 24 << 30)
TURING = Gpu("Tesla T4", "sm75", "580.65", 16 << 30)
HOPPER = Gpu("NVIDIA H100", "sm90", "580.65", 80 << 30)


def plan(name: str, *, version: str = "1.7", hardware: bool = False, compatible: bool = False) -> Plan:
    return Plan(name, f"{name}.plan", "0" * 64, "tensorrt_rtx", version, WITHOUT_DEVICE, hardware, compatible)


def published(*members: Plan) -> Manifest:
    return Manifest(model="alexnet_int8", files={}, recipe=Recipe("int8", scheme="tensorrt"), plans=members)


@pytest.fixture(autouse=True)
def library(monkeypatch: pytest.MonkeyPatch) -> None:
    module = SimpleNamespace(__version__="1.7")
    monkeypatch.setattr(plans, "find", lambda name: provider.Provider(name, module))


def test_the_gpus_own_plan_comes_before_one_for_many() -> None:
    record = published(plan("sm80", hardware=True), plan("sm89"))
    assert [getattr(plans.fitting(record, gpu), "capability", None) for gpu in (ADA, HOPPER, TURING, None)] == [
        "sm89",
        "sm80",
        None,
        None,
    ]


@pytest.mark.parametrize(
    ("record", "gpu", "reason"),
    [
        (published(plan("sm89")), ADA, None),
        (published(), None, None),
        (published(plan("sm89")), None, "alexnet_int8 has engines for sm89, and this machine has no GPU"),
        (
            published(plan("sm80"), plan("sm89")),
            TURING,
            "alexnet_int8 has engines for sm80, sm89, and this machine has Tesla T4 (sm75): build one with "
            "`python -m export engine int8-tensorrt --gpu sm75` and publish it",
        ),
        (
            published(plan("sm89", version="1.6")),
            ADA,
            "alexnet_int8's engine for NVIDIA L4 (sm89) is of tensorrt_rtx 1.6, and this machine has tensorrt_rtx 1.7: "
            "build it again with `python -m export engine int8-tensorrt --gpu sm89` and publish it",
        ),
        (published(plan("sm89", version="1.6", compatible=True)), ADA, None),
    ],
)
def test_why_none_can_run(record: Manifest, gpu: Gpu | None, reason: str | None) -> None:
    assert plans.unfit(record, gpu) == reason


@pytest.fixture
def graph(tmp_path: Path) -> Path:
    return graphs.tiny(tmp_path / "model.onnx")


def test_the_golden_batch_proves_what_answers_alike_and_nothing_else(graph: Path, tmp_path: Path) -> None:
    images = np.random.default_rng(3).integers(0, 256, (8, 224, 224, 3), np.uint8)
    batch = tmp_path / "golden.npz"
    golden.write(batch, images, OnnxRuntime(graph)(images))
    limits = Limits(max_abs_dp=1e-3, agreement=100.0, cosine=0.99, top1_loss=0.0)
    assert golden.prove(batch, OnnxRuntime(graph), limits) == []
    other = OnnxRuntime(graphs.tiny(tmp_path / "other.onnx", seed=9))
    assert "max |Δp|" in golden.prove(batch, other, limits)[0]
    (tmp_path / "golden.npz").write_bytes(b"text")
    with pytest.raises(ManifestError, match="is no golden batch .*: publish again"):
        golden.read(batch)


def test_a_proof_is_kept_for_its_plan_gpu_and_library(tmp_path: Path) -> None:
    proofs = Proofs(tmp_path)
    assert proofs.find("a" * 64, ADA, "1.7") is None
    assert proofs.keep("a" * 64, ADA, "1.7", []) == Verdict.PASSED
    assert proofs.keep("b" * 64, ADA, "1.7", ["max |Δp| is 1"]) == "failed: max |Δp| is 1"
    assert Proofs(tmp_path).find("a" * 64, ADA, "1.7") == Verdict.PASSED
    assert Proofs(tmp_path).find("b" * 64, ADA, "1.7") == "failed: max |Δp| is 1"
    for key in (("a" * 64, TURING, "1.7"), ("a" * 64, ADA, "1.8"), ("c" * 64, ADA, "1.7")):
        assert proofs.find(*key) is None


@pytest.mark.parametrize("text", ["sm89", "SM89", "8.9", "8_9", " 89 "])
def test_compute_capabilities_are_read_as_people_write_them(text: str) -> None:
    assert capability(text) == "sm89"


def test_triton_writes_a_dot() -> None:
    assert [triton_key(capability(text)) for text in ("7.5", "sm120")] == ["7.5", "12.0"]
    with pytest.raises(UnknownGpu, match="got compute capability 'ada': want one like sm89"):
        capability("ada")
