"""``make serve``: serve a model repository on loopback until Ctrl-C. ``python -m deploy.serve --help``."""

from __future__ import annotations

import argparse
import logging
import signal
import sys
import threading
from pathlib import Path
from urllib.parse import urlsplit

from alexnet_client.command import run
from deploy.serve.ports import HOST, NAMES, Ports, free_ports
from deploy.serve.process import ServerError
from deploy.serve.server import WORK, LocalServer
from deploy.serve.tls import ServerTLS


def main(arguments: list[str] | None = None) -> int:
    """Serve; returns the exit status: 0 after Ctrl-C or SIGTERM, 1 with one line on standard error otherwise."""
    parser = argparse.ArgumentParser(prog="python -m deploy.serve", description=main.__doc__)
    parser.add_argument("--repository", type=Path, default=Path("build/repository"), help="(%(default)s)")
    parser.add_argument("--host", default=HOST, help="address to listen on; all are 0.0.0.0 (%(default)s)")
    for name in NAMES:
        parser.add_argument(f"--{name}-port", type=int, metavar="PORT", help=f"({getattr(Ports(), name)})")
    parser.add_argument("--free-ports", action="store_true", help="any free ports, printed, instead of those")
    parser.add_argument("--work", type=Path, default=WORK, help="folder of the log and of backends (%(default)s)")
    parser.add_argument("--http", action="store_true", help="KServe's HTTP as well; not for strangers: see README")
    parser.add_argument("--tls-certificate", type=Path, metavar="PEM", help="gRPC's, a chain; plain text without")
    parser.add_argument("--tls-key", type=Path, metavar="PEM", help="its private key")
    parser.add_argument("--tls-client-ca", type=Path, metavar="PEM", help="ask callers for a certificate of its")
    parser.add_argument(
        "--traces", type=_otlp, metavar="URL", help="OTLP endpoint, of calls that carry a trace context"
    )
    options = parser.parse_args(arguments)
    given = {bool(options.tls_certificate), bool(options.tls_key), bool(options.tls_client_ca) or bool(options.tls_key)}
    if len(given) > 1:
        parser.error("want --tls-certificate and --tls-key together")
    told = {name: port for name in NAMES if (port := getattr(options, f"{name}_port")) is not None}
    if told and options.free_ports:
        parser.error(f"got --free-ports and {', '.join(f'--{name}-port' for name in told)}: want one of both")
    if "http" in told and not options.http:
        parser.error("got --http-port without --http: want both, or neither")
    tls = options.tls_key and ServerTLS(options.tls_certificate, options.tls_key, options.tls_client_ca)
    logging.basicConfig(format="%(asctime)s %(message)s", level=logging.INFO, stream=sys.stderr)
    ports = free_ports(options.host) if options.free_ports else Ports(**told, host=options.host)
    server = LocalServer(
        options.repository, ports, http=options.http, tls=tls, traces=options.traces, work=options.work
    )
    done = threading.Event()

    def stop(*_: object) -> None:
        done.set()
        server.cancel()

    for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        signal.signal(number, stop)
    return run("python -m deploy.serve", lambda: _serve(server, done, http=options.http))


def _otlp(text: str) -> str:
    """OpenTelemetry's endpoint of spans, which Triton reaches in plain text."""
    url = urlsplit(text)
    if url.scheme != "http" or not url.hostname:
        raise argparse.ArgumentTypeError(f"got {text}: want OTLP over HTTP, as http://localhost:4318/v1/traces")
    return text


def _serve(server: LocalServer, done: threading.Event, *, http: bool) -> int:
    try:
        with server:
            _announce(server, http=http)
            done.wait()
    except ServerError:
        if not done.is_set():
            raise
    print("stopped")
    return 0


def _announce(server: LocalServer, *, http: bool) -> None:
    print(f"serving {server.repository} ({', '.join(server.models)})")
    for model, reason in server.fallbacks.items():
        print(f"  fallback {model} serves its ONNX graph: {reason}")
    for model, reason in server.refused.items():
        print(f"  refused  {model}: {reason}")
    print(f"  gRPC     {server.grpc_url}{' (TLS)' if server.tls else ''}")
    if http:
        print(f"  HTTP     {server.http_url}: a few malformed bytes end Triton 24.10, let no stranger at it")
    print(f"  metrics  {server.metrics_url}")
    print(f"  log      {server.log_file}")
    print("Ctrl-C stops it. A newly published release goes live by itself.", flush=True)


if __name__ == "__main__":
    sys.exit(main())
