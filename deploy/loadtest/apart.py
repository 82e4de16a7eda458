"""Processes of their own, which end with their caller, by Ctrl-C as well.

Not ``concurrent.futures``: its pools are made of semaphores, and one that a Ctrl-C interrupts while it is made or
dropped leaves some to Python's resource tracker, which warns of them after the command's last word.
"""

from __future__ import annotations

import multiprocessing
from collections.abc import Callable, Iterable
from contextlib import ExitStack
from multiprocessing.connection import Connection
from typing import TypeVar, TypeVarTuple, Unpack

from deploy.loadtest.interruptible import uninterrupted
from deploy.loadtest.loadtest_error import LoadTestError

Arguments = TypeVarTuple("Arguments")
Result = TypeVar("Result")


def apart(function: Callable[[Unpack[Arguments]], Result], shares: Iterable[tuple[Unpack[Arguments]]]) -> list[Result]:
    """Call it with each of the arguments at the same time, each in a process of its own.

    Raises:
        LoadTestError: one of them ended without a result; why stands on standard error.
    """
    context = multiprocessing.get_context("spawn")  # not by fork: gRPC has threads
    receivers = []
    with ExitStack() as started:
        for share in shares:
            receiver, sender = context.Pipe(duplex=False)
            process = context.Process(target=_call, args=(sender, function, share), daemon=True)
            with uninterrupted():  # or it is left alone with half of its arguments
                process.start()
                started.callback(process.join)
                started.callback(process.kill)
            sender.close()
            receivers.append(receiver)
        try:
            return [receiver.recv() for receiver in receivers]
        except EOFError as error:
            raise LoadTestError("a process of the load generator ended before its run did: see above") from error


def _call(sender: Connection, function: Callable[[Unpack[Arguments]], Result], share: tuple[Unpack[Arguments]]) -> None:
    sender.send(function(*share))
