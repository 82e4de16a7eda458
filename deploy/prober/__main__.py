"""Probe a served AlexNet with golden images, for Prometheus: ``python -m deploy.prober --help``."""

from __future__ import annotations

import argparse
import logging
import os
import sys
import threading
from functools import partial
from pathlib import Path

from prometheus_client import CollectorRegistry, disable_created_metrics, start_http_server

from alexnet_client import TLS, AlexNetClient, AlexNetError, Retry
from alexnet_client.command import add_metadata, run, stopped
from alexnet_client.contract import DEFAULT_MODEL, PROBE_ID, SERVED_MODELS
from deploy.prober.expected import Expected, of_artefact, of_release
from deploy.prober.metrics import Metrics
from deploy.prober.prober import Prober
from deploy.serve.ports import HOST, Ports

#: Where its metrics are.
PORT = 8003

EPILOG = """\
environment: ALEXNET_URL, ALEXNET_TLS_CA, ALEXNET_TLS_CERTIFICATE, ALEXNET_TLS_KEY, ALEXNET_TLS_SERVER_NAME,
             ALEXNET_TOKEN and ALEXNET_TOKEN_FILE, as of alexnet-client
"""


class ProberError(AlexNetError):
    """The prober cannot do its work."""


def main(arguments: list[str] | None = None) -> int:
    """Probe until SIGTERM or Ctrl-C; returns the exit status: 0 then, 1 with one line on standard error otherwise."""
    parser = argparse.ArgumentParser(
        prog="python -m deploy.prober",
        description=__doc__,
        epilog=EPILOG,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    url = os.environ.get("ALEXNET_URL", f"{HOST}:{Ports().grpc}")
    parser.add_argument("--url", default=url, help="host:port of the gRPC endpoint (%(default)s)")
    parser.add_argument("--model", default=DEFAULT_MODEL, choices=SERVED_MODELS, help="(%(default)s)")
    source = parser.add_mutually_exclusive_group()
    source.add_argument(
        "--repository",
        type=Path,
        default=Path("build/repository"),
        help="what is served; each release is held against its own golden batch (%(default)s)",
    )
    source.add_argument("--golden", type=Path, metavar="ARTEFACT", help="an artefact's folder, for whatever release")
    parser.add_argument("--interval", type=float, default=1.0, help="seconds between probes (%(default)s)")
    parser.add_argument("--timeout", type=float, default=5.0, help="seconds a probe may take (%(default)s)")
    parser.add_argument("--host", default=HOST, help="address of the metrics (%(default)s)")
    parser.add_argument("--port", type=int, default=PORT, help="port of the metrics, 0 for any (%(default)s)")
    add_metadata(parser)
    options = parser.parse_args(arguments)
    if options.interval <= 0:
        parser.error(f"got --interval {options.interval:g}, want more than 0 seconds")
    logging.basicConfig(format="%(asctime)s %(message)s", level=logging.INFO, stream=sys.stderr)
    stopping = stopped()
    return run("python -m deploy.prober", lambda: _probe(options, stopping))


def _probe(options: argparse.Namespace, stopping: threading.Event) -> int:
    disable_created_metrics()  # type: ignore[no-untyped-call]
    registry = CollectorRegistry()
    release = partial(of_release, options.repository, options.model)
    expected: Expected = of_artefact(options.golden) if options.golden else release()
    metrics = Metrics(options.model, registry)
    with AlexNetClient(
        options.url,
        options.model,
        options.timeout,
        retry=Retry(attempts=1),  # what a caller without patience sees
        tls=TLS.from_environment(),
        metadata=dict(options.metadata),
        registry=registry,
        id_prefix=PROBE_ID,
    ) as client:
        prober = Prober(client, expected, release, metrics)
        try:
            server, thread = start_http_server(options.port, options.host, registry)
        except OSError as error:
            raise ProberError(f"{options.host}:{options.port} cannot be listened on ({error}): want --port") from error
        print(f"probing {options.model} at {options.url} every {options.interval:g} s")
        print(f"  metrics  http://{options.host}:{server.server_port}/metrics", flush=True)
        try:
            prober.run(options.interval, stopping)
        finally:
            server.shutdown()
            server.server_close()
            thread.join()
    print("stopped")
    return 0


if __name__ == "__main__":
    sys.exit(main())
