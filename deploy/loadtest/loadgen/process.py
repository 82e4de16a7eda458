"""A run of LoadGen in a process of its own.

It is C++ that calls back, cannot be interrupted, and waits for ever for an answer that does not come; so Ctrl-C ends
its process. And the supervisor of a local server does not share its interpreter.
"""

from __future__ import annotations

import multiprocessing
import os
import shutil
import signal
import sys
import threading
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass
from multiprocessing.connection import Connection
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from tqdm import tqdm

from alexnet_client import TLS
from alexnet_client._options import Options
from alexnet_client.files import PASSABLE, file_errors
from deploy.loadtest.loadgen.samples import Image, SampleLibrary, Split
from deploy.loadtest.loadgen.settings import Settings, in_flight
from deploy.loadtest.loadgen.system import SystemUnderTest
from deploy.loadtest.loadtest_error import LoadTestError


@dataclass(frozen=True, slots=True)
class Ended:
    """What LoadGen does not write down."""

    #: What requests failed of -> samples.
    failures: dict[str, int]
    #: Of the model that answered, where classes were read.
    versions: frozenset[str]


def run(
    url: str, model: str, images: Split | Sequence[Image], settings: Settings, logs: Path, tls: TLS | None = None
) -> Ended:
    """Have LoadGen ask a server.

    Args:
        logs: folder of LoadGen's own files, ``mlperf_log_*``; it appears when the run has ended.
        tls: who the server must be; None is plain text.

    Raises:
        LoadTestError: LoadGen is not installed, or ended with the run.
        alexnet_client.FileError: its logs cannot be written.
    """
    partial = logs.with_name(f".{logs.name}.{os.getpid()}.partial")
    context = multiprocessing.get_context("spawn")  # not by fork: gRPC has threads
    receiver, sender = context.Pipe(duplex=False)
    server = Options(url, model, timeout=None, tls=tls)
    process = context.Process(target=_drive, args=(sender, server, images, settings, partial), daemon=True)
    with file_errors(logs):
        partial.mkdir(parents=True)
        try:
            process.start()
            sender.close()
            ended = _heard(receiver)
            partial.chmod(PASSABLE)
            shutil.rmtree(logs, ignore_errors=True)
            partial.rename(logs)
        finally:
            process.kill()
            process.join()
            shutil.rmtree(partial, ignore_errors=True)
    return ended


def _heard(receiver: Connection) -> Ended:
    with suppress(EOFError):
        told = receiver.recv()
        if isinstance(told, Ended):
            return told
        raise LoadTestError(str(told))
    raise LoadTestError("LoadGen's process ended before the run did: try again, or with less")


def _drive(
    sender: Connection, server: Options, images: Split | Sequence[Image], settings: Settings, logs: Path
) -> None:
    """In the process."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # a terminal sends it to both; the parent ends this one
    threading.Thread(target=_end_with_parent, args=(logs,), daemon=True).start()
    try:
        import mlperf_loadgen as lg  # noqa: PLC0415
    except ImportError as error:
        sender.send(f"LoadGen is not installed ({error}): pip install -c constraints.txt mlcommons-loadgen")
        return
    library = SampleLibrary(images)
    bar = tqdm(
        desc=f"{server.model} {settings.name}",
        total=library.total if settings.accuracy else None,
        unit="sample",
        mininterval=1.0,
        file=sys.stderr,
    )

    def completed(ids: Sequence[int], classes: NDArray[np.int32] | None) -> None:
        bar.update(len(ids))
        if classes is None:
            lg.QuerySamplesComplete([lg.QuerySampleResponse(each, 0, 0) for each in ids])
        else:
            first, size = classes.ctypes.data, classes.itemsize
            lg.QuerySamplesComplete(
                [lg.QuerySampleResponse(each, first + size * place, size) for place, each in enumerate(ids)]
            )

    system = SystemUnderTest(
        server, library, completed, classes=settings.accuracy, in_flight=in_flight(settings.scenario)
    )
    with bar, system:
        sut = lg.ConstructSUT(system.issue, system.flush)
        qsl = lg.ConstructQSL(library.total, library.fitting, library.load, library.unload)
        log = lg.LogSettings()
        log.enable_trace = False
        log.log_output.outdir = str(logs)
        # Not the one of the current folder, which would change the settings.
        lg.StartTestWithLogSettings(sut, qsl, settings.as_loadgen(), log, str(logs / "audit.config"))
        lg.DestroyQSL(qsl)
        lg.DestroySUT(sut)
    sender.send(Ended(dict(system.failures), frozenset(system.versions)))


def _end_with_parent(logs: Path) -> None:
    """However the parent ends, nothing is left: no process, no files."""
    parent = multiprocessing.parent_process()
    assert parent is not None
    parent.join()
    shutil.rmtree(logs, ignore_errors=True)
    os._exit(1)
