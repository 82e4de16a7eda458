"""Stages run when something changed, are skipped when nothing did, and never pass off half a result."""

from dataclasses import replace
from pathlib import Path

import onnxruntime
import pytest

from deploy.pipeline import stages
from deploy.pipeline.stage import Stage, StageFailed, digest, run


@pytest.fixture
def stage(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Stage:
    """Copies ``source`` to ``target``: a real command in a real process."""
    monkeypatch.chdir(tmp_path)
    Path("copier.py").write_text("import shutil, sys; shutil.copyfile(*sys.argv[1:])")
    Path("source").write_text("one")
    return Stage("copy", ("copier", "source", "target"), [Path("source"), Path("copier.py")], [Path("target")])


def test_it_runs_once_and_then_says_that_it_is_skipped(stage: Stage, capfd: pytest.CaptureFixture[str]) -> None:
    first = run(stage, Path("records"))
    assert Path("target").read_text() == "one"
    assert not first.skipped
    assert "$ python -m copier source target" in capfd.readouterr().out
    second = run(stage, Path("records"))
    assert second.skipped
    assert second.seconds == first.seconds
    assert "copy: skipped, its inputs have not changed" in capfd.readouterr().out


def test_a_changed_input_runs_it_again(stage: Stage) -> None:
    run(stage, Path("records"))
    Path("source").write_text("two")
    assert not run(stage, Path("records")).skipped
    assert Path("target").read_text() == "two"


def test_another_condition_runs_it_again(stage: Stage) -> None:
    """As another version of a runtime is."""
    run(replace(stage, conditions=("onnxruntime 1",)), Path("records"))
    assert run(replace(stage, conditions=("onnxruntime 1",)), Path("records")).skipped
    assert not run(replace(stage, conditions=("onnxruntime 2",)), Path("records")).skipped


def test_every_stage_of_the_demo_depends_on_runtimes_and_preprocessing(monkeypatch: pytest.MonkeyPatch) -> None:
    before = [stage.conditions for stage in stages.stages("demo", stages.DATA)]
    assert all(before)
    monkeypatch.setattr(onnxruntime, "__version__", "9.9.9")
    assert all(stage.conditions != was for stage, was in zip(stages.stages("demo", stages.DATA), before, strict=True))
    monkeypatch.undo()
    monkeypatch.setattr(stages, "preprocessing_fingerprint", lambda: "other")
    assert all(stage.conditions != was for stage, was in zip(stages.stages("demo", stages.DATA), before, strict=True))


def test_a_digest_follows_links(tmp_path: Path) -> None:
    """A data set is often a link to where it lies."""
    (tmp_path / "real").mkdir()
    (tmp_path / "real" / "a").write_text("1")
    (tmp_path / "data").mkdir()
    (tmp_path / "data" / "train").symlink_to(tmp_path / "real")
    before = digest([tmp_path / "data"])
    (tmp_path / "real" / "a").write_text("2")
    assert digest([tmp_path / "data"]) != before
    (tmp_path / "real" / "back").symlink_to(tmp_path / "data")
    assert digest([tmp_path / "data"])


@pytest.mark.parametrize("damage", [lambda: Path("target").write_text("tampered"), lambda: Path("target").unlink()])
def test_a_damaged_output_is_made_again(stage: Stage, damage) -> None:
    run(stage, Path("records"))
    damage()
    assert not run(stage, Path("records")).skipped
    assert Path("target").read_text() == "one"


def test_a_broken_record_is_no_reason_to_skip(stage: Stage) -> None:
    run(stage, Path("records"))
    Path("records/copy.json").write_text('{"befo')
    assert not run(stage, Path("records")).skipped


def test_a_failure_names_the_stage_and_is_not_recorded(stage: Stage) -> None:
    run(stage, Path("records"))
    Path("source").unlink()
    with pytest.raises(StageFailed, match="stage copy ended with status 1; `python -m copier source target` runs it"):
        run(stage, Path("records"))
    assert not Path("records/copy.json").exists()


def test_a_digest_depends_on_names_and_content_only(tmp_path: Path) -> None:
    (tmp_path / "a").write_text("1")
    (tmp_path / "b").write_text("2")
    before = digest([tmp_path])
    (tmp_path / "a").touch()
    assert digest([tmp_path]) == before
    (tmp_path / "b").rename(tmp_path / "c")
    assert digest([tmp_path]) != before
    assert digest([tmp_path / "b"]) is None
