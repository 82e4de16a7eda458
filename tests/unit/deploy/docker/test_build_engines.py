"""``build-engines`` with the real TensorRT-RTX, for a GPU claimed to be here whose answers are ONNX Runtime's."""

from __future__ import annotations

from contextlib import contextmanager
from pathlib import Path

import numpy as np
import pytest

from alexnet_client.contract import IMAGE
from alexnet_client.outputs import Identity, Outputs
from deploy.docker import build_engines
from deploy.serve import repository
from export.artefacts import artefact, manifest
from export.engines import build as build_engine
from export.engines import provider
from export.engines.gpu import Gpu
from export.proof import golden
from export.proof.proof import Proof
from export.runtimes.onnx import OnnxRuntime
from tests import graphs
from tests.artefacts import change, make_artefact
from tests.charts import CHART, of_kind, render
from tests.pods import Pod

ADA = Gpu("NVIDIA L4", "sm89", "580.65", 24 << 30)


@pytest.fixture
def graph(tmp_path: Path) -> Path:
    """A verified FP16 graph, with its golden batch."""
    folder = make_artefact(tmp_path / "artefacts" / "fp16", "fp16", lambda path: graphs.tiny(path, half=True))
    images = np.random.default_rng(0).integers(0, 256, (4, *IMAGE.shape), np.uint8)
    golden.write(folder / artefact.GOLDEN_FILE, images, OnnxRuntime(folder / artefact.MODEL_FILE)(images))
    change(folder)
    return folder


class Machine:
    """What runs here, and how often an engine was run."""

    def __init__(self, graph: Path) -> None:
        self.answers = OnnxRuntime(graph / artefact.MODEL_FILE)
        self.wrong = 0.0
        self.proofs = 0

    @contextmanager
    def runner(self, *_: object):  # type: ignore[no-untyped-def]
        self.proofs += 1
        yield self

    @property
    def identity(self) -> Identity:
        return Identity("tensorrt_rtx", "1.7", "0" * 64, str(ADA))

    def __call__(self, images: np.ndarray) -> Outputs:
        answers = self.answers(images)
        return answers._replace(probabilities=answers.probabilities + np.float32(self.wrong))


@pytest.fixture
def machine(graph: Path, monkeypatch: pytest.MonkeyPatch) -> Machine:
    machine = Machine(graph)
    for module in (build_engines, build_engine):
        monkeypatch.setattr(module, "installed", lambda: ADA)
    monkeypatch.setattr(build_engines, "find", lambda: provider.find("tensorrt_rtx"))
    monkeypatch.setattr(build_engines, "EngineRuntime", machine.runner)
    return machine


def build(root: Path) -> int:
    where = ["--artefacts", str(root / "artefacts"), "--cache", str(root / "cache")]
    return build_engines.main([*where, "--repository", str(root / "live"), "--graphs", "fp16", "--precision", "fp16"])


def test_what_it_publishes_is_proved_and_needs_no_acceptance(machine: Machine, tmp_path: Path) -> None:
    assert build(tmp_path) == 0
    assert machine.proofs == 1
    record = manifest.read(tmp_path / "live" / "alexnet_fp16" / "1")
    (plan,) = record.plans
    assert (plan.capability, str(plan.proof)) == ("sm89", "passed")
    assert (str(record.proof), record.accepted, record.fallback) == ("passed", "", True)
    assert repository.check(tmp_path / "live").models
    (cached,) = (tmp_path / "cache").iterdir()
    assert cached.name.endswith(f"-nvidia-l4-{provider.find('tensorrt_rtx').version}")
    proof = artefact.read(cached / "fp16-sm89").proof
    assert proof.data is not None
    assert (proof.data.name, proof.data.images) == ("golden batch", 4)
    assert proof.runtime == machine.identity


def test_a_parent_may_lie_where_the_graphs_are_and_not_be_published(
    machine: Machine, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As with INT8 for TensorRT, when the processors' graph is not there to fall back on."""
    monkeypatch.setattr(build_engines, "engines_in", lambda target, with_graphs: ["fp16-sm89"])
    assert build(tmp_path) == 0
    record = manifest.read(tmp_path / "live" / "alexnet_fp16" / "1")
    assert (record.fallback, len(record.plans)) == (False, 1)


def test_a_second_start_builds_and_proves_nothing(machine: Machine, tmp_path: Path) -> None:
    assert [build(tmp_path), build(tmp_path)] == [0, 0]
    assert machine.proofs == 1
    assert sorted(path.name for path in (tmp_path / "live").resolve().parent.iterdir() if path.name.isdigit()) == ["1"]


def test_another_graph_is_another_engine(machine: Machine, graph: Path, tmp_path: Path) -> None:
    build(tmp_path)
    graphs.tiny(graph / artefact.MODEL_FILE, half=True, seed=1)
    change(graph)
    assert build(tmp_path) == 0
    assert machine.proofs == 2
    assert len(list((tmp_path / "cache").iterdir())) == 2


def test_one_that_answers_wrongly_is_never_published(
    machine: Machine, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    machine.wrong = 0.1
    assert build(tmp_path) == 1
    assert "may not serve" in capsys.readouterr().err
    assert not (tmp_path / "live").exists()
    assert build(tmp_path) == 1  # and not at the next start either


def test_the_charts_job_publishes_what_its_servers_look_for(machine: Machine, tmp_path: Path) -> None:
    """By the rendered arguments; a second one, of the next upgrade, finds everything in the claims."""
    volumes = tmp_path / "volumes"
    (volumes / "models").mkdir(parents=True)
    (volumes / "artefacts").symlink_to(tmp_path)
    manifests = render(CHART / "ci" / "engines-values.yaml")
    job, server = (Pod(of_kind(manifests, kind), volumes) for kind in ("Job", "Deployment"))
    for _ in range(2):
        assert build_engines.main([job.here(word) for word in job.container["args"]]) == 0
    assert machine.proofs == 1
    (served,) = [word for word in server.container["args"] if word.startswith("--repository=")]
    found = Path(server.here(served).removeprefix("--repository="))
    assert repository.check(found).models
    assert len(manifest.read(found / "alexnet_fp16" / "1").plans) == 1


def test_without_a_gpu_or_a_proof_of_the_graph_it_says_so(
    machine: Machine, graph: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    change(graph, proof=Proof())
    assert build(tmp_path) == 1
    assert "is not proved" in capsys.readouterr().err
    monkeypatch.setattr(build_engines, "installed", lambda: None)
    assert build(tmp_path) == 1
    assert "this machine has no GPU" in capsys.readouterr().err
    assert machine.proofs == 0


def test_the_recipe_copies_what_is_there() -> None:
    """The image itself needs NVIDIA's container; that its inputs exist does not."""
    root = Path(__file__).parents[4]
    lines = (root / "deploy/docker/Dockerfile").read_text().splitlines()
    sources = [source for line in lines if line.startswith("COPY ") for source in line.split()[1:-1]]
    assert sources
    assert not [source for source in sources if not (root / source).exists()]
