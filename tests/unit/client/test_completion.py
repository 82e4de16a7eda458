"""What a shell completes is what the command takes."""

from __future__ import annotations

import subprocess
import sys

import pytest

from alexnet_client.__main__ import main


def completed(script: str, *words: str) -> list[str]:
    """What bash offers for the last word."""
    ask = 'COMP_WORDS=("$@"); COMP_CWORD=$(($# - 1)); _shtab_alexnet_client; printf "%s\\n" "${COMPREPLY[@]}"'
    command = ["bash", "-c", f"{script}\n{ask}", "bash", "alexnet-client", *words]
    return subprocess.run(command, capture_output=True, text=True, check=True).stdout.split()


def test_bash_completes_commands_options_and_choices(capsys: pytest.CaptureFixture) -> None:
    assert main(["completion", "bash"]) == 0
    script = capsys.readouterr().out
    assert set(completed(script, "")) >= {"classify", "embed", "health", "models", "bench", "completion"}
    assert completed(script, "ben") == ["bench"]
    assert {"--rate", "--concurrency", "--seconds", "--url"} <= set(completed(script, "bench", "--"))
    assert completed(script, "completion", "z") == ["zsh"]


@pytest.mark.parametrize(("shell", "sign"), [("zsh", "#compdef alexnet-client"), ("fish", "complete -c ")])
def test_other_shells_have_their_own(shell: str, sign: str, capsys: pytest.CaptureFixture) -> None:
    assert main(["completion", shell]) == 0
    assert sign in capsys.readouterr().out


def test_without_shtab_the_remedy_is_said(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture) -> None:
    monkeypatch.setitem(sys.modules, "shtab", None)
    assert main(["completion", "bash"]) == 1
    assert "pip install 'alexnet-client[completion]'" in capsys.readouterr().err
