"""Stages run when something changed, are skipped when nothing did, and never pass off half a result."""

from pathlib import Path

import pytest

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
