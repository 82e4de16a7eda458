"""How every command of the project ends: a status, and one line on standard error when its user can mend it."""

from __future__ import annotations

import argparse
import os
import signal
import sys
import threading
from collections.abc import Callable
from typing import NoReturn

from alexnet_client.errors import AlexNetError

#: As shells count it: 128 and the number of SIGINT.
INTERRUPTED = 130


def run(name: str, body: Callable[[], int], interrupted: str = "interrupted") -> int:
    """Run a command's body and return its exit status.

    Args:
        name: of the command, before the colon of the line.
        interrupted: what the line says after Ctrl-C.
    """
    try:
        return body()
    except AlexNetError as error:
        print(f"{name}: {error}", file=sys.stderr)  # noqa: T201  a command prints
        return error.exit_status
    except KeyboardInterrupt:
        print(f"{name}: {interrupted}", file=sys.stderr)  # noqa: T201
        return INTERRUPTED


def leave(status: int) -> NoReturn:
    """End the process with it.

    After Ctrl-C at once: where it came amid a channel's closing, gRPC waits for the rest of that, for ever, while
    Python ends.
    """
    if status == INTERRUPTED:
        sys.stdout.flush()
        sys.stderr.flush()
        os._exit(status)
    sys.exit(status)


def stopped() -> threading.Event:
    """What SIGTERM and Ctrl-C set from now on, for a command that ends in order; to be called in the main thread."""
    stopping = threading.Event()
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, lambda *_: stopping.set())
    return stopping


def add_metadata(parser: argparse.ArgumentParser) -> None:
    """``--metadata KEY=VALUE``, any number of times: ``metadata``, a list of pairs."""
    parser.add_argument(
        "--metadata", action="append", type=_pair, default=[], metavar="KEY=VALUE", help="sent along with each call"
    )


def _pair(text: str) -> tuple[str, str]:
    key, equals, value = text.partition("=")
    if not equals:
        raise argparse.ArgumentTypeError(f"got {text!r}, want KEY=VALUE")
    return key, value
