"""The benchmark of engines from its beginning to its end, on a GPU that is not there; its figures mean nothing."""

from __future__ import annotations

import json
from pathlib import Path
from types import SimpleNamespace

import pytest

from alexnet_client.contract import PRECISIONS
from deploy.loadtest import gpu as subject
from export.engines.gpu import Gpu
from export.runtimes import engine
from tests import graphs
from tests.artefacts import make_engine
from tests.fake_gpu import Cuda, library
from training.model import AlexNet

BATCHES = (1, 4)


@pytest.fixture
def bench(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    """Run it on a GPU of a compute capability, with an engine of every precision."""
    cuda, model = Cuda(), AlexNet("owt", 3)
    provider = library(cuda, graphs.tiny(tmp_path / "graph" / "model.onnx"), [(1, 1, 8)])
    nvml = SimpleNamespace(
        nvmlInit=lambda: None,
        nvmlShutdown=lambda: None,
        nvmlDeviceGetHandleByIndex=lambda _: None,
        nvmlDeviceGetMaxClockInfo=lambda *_: 1000,
        nvmlDeviceGetMemoryBusWidth=lambda _: 4096,
        NVML_CLOCK_SM=0,
        NVML_CLOCK_MEM=1,
    )
    monkeypatch.setattr(engine, "_cuda_runtime", lambda: cuda)
    monkeypatch.setattr(subject, "find", lambda _: provider)
    monkeypatch.setattr(subject, "pynvml", nvml)
    monkeypatch.setattr(subject.torch.cuda, "get_device_properties", lambda _: SimpleNamespace(multi_processor_count=9))
    monkeypatch.setattr(subject.checkpoint, "load", lambda _: SimpleNamespace(model=model))
    monkeypatch.setattr(subject, "BASELINES", {"PyTorch": lambda *_: lambda _: None})
    monkeypatch.setattr(subject, "BATCHES", BATCHES)

    def run(capability: str, rounds: int = 2) -> int:
        monkeypatch.setattr(subject, "installed", lambda: Gpu("A fake", capability, "1.0", 1 << 30))
        for precision in PRECISIONS:
            make_engine(tmp_path / "artefacts" / f"{precision}-{capability}", capability, precision=precision)
        asked = ["--artefacts", tmp_path / "artefacts", "--output", tmp_path / "gpu.json", "--rounds", rounds]
        return subject.main([*map(str, asked), "--seconds", "0.001"])

    return run


def measured(tmp_path: Path) -> list[dict]:
    return json.loads((tmp_path / "gpu.json").read_text())["measured"]


def test_every_published_precision_has_a_floor(bench, tmp_path: Path) -> None:
    assert bench("sm90") == 0
    floors = {(row["model"], row["batch"]): row["floor_ms"] for row in measured(tmp_path)}
    names = [*(f"{precision}-sm90" for precision in PRECISIONS), "fp16"]
    assert set(floors) == {(name, batch) for name in names for batch in BATCHES}
    assert all(floors.values())
    assert floors["fp32-sm90", 4] > floors["fp16-sm90", 4] > floors["int8-sm90", 4] == floors["fp8-sm90", 4]


def test_an_unknown_gpu_is_measured_without_a_floor(bench, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert bench("sm35") == 0
    assert {row["floor_ms"] for row in measured(tmp_path)} == {None}
    captured = capsys.readouterr()
    assert captured.err == (
        "python -m deploy.loadtest.gpu: measured without a floor: got compute capability sm35: want one of sm75, sm80, "
        "sm86, sm89, sm90, sm120, or add it\n"
    )
    assert all(line.endswith(" -") for line in captured.out.splitlines() if line.startswith("PyTorch"))


def test_a_round_that_fails_leaves_those_before(bench, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    rounds, first = iter(range(2)), subject._round

    def fails_later(*given: object) -> list:
        if next(rounds):
            raise KeyboardInterrupt
        return first(*given)

    monkeypatch.setattr(subject, "_round", fails_later)
    assert bench("sm90") == 130
    assert len(measured(tmp_path)) == (len(PRECISIONS) + 1) * len(BATCHES)
