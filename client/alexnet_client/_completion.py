"""What completes the command line in a shell, by `shtab`: made once, so that a TAB starts no Python."""

from __future__ import annotations

import argparse
from collections.abc import Iterator

from alexnet_client.errors import AlexNetError

SHELLS = ("bash", "zsh", "fish")
#: Arguments that are files.
FILES, FOLDERS = ("images", "output"), ("input",)


def script(parser: argparse.ArgumentParser, shell: str) -> str:
    """For one of :data:`SHELLS`.

    Raises:
        AlexNetError: shtab is not installed.
    """
    try:
        import shtab  # noqa: PLC0415  nobody else needs it
    except ImportError as error:
        raise AlexNetError("shtab is not installed: pip install 'alexnet-client[completion]'") from error
    for action in _actions(parser):
        if action.dest in FILES:
            action.complete = shtab.FILE  # type: ignore[attr-defined]
        elif action.dest in FOLDERS:
            action.complete = shtab.DIRECTORY  # type: ignore[attr-defined]
    return str(shtab.complete(parser, shell))


def _actions(parser: argparse.ArgumentParser) -> Iterator[argparse.Action]:
    for action in parser._actions:
        yield action
        if isinstance(action, argparse._SubParsersAction):
            for sub in action.choices.values():
                yield from _actions(sub)
