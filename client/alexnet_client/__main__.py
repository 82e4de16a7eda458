"""The command line: ``alexnet-client --help``."""

from __future__ import annotations

import argparse
import json
import os
import sys
from dataclasses import asdict
from pathlib import Path
from typing import Any, NoReturn

from alexnet_client import TLS, AlexNetClient, InvalidRequest, ModelState, Retry, _bench, _bulk, _completion
from alexnet_client._core import STREAM_IN_FLIGHT
from alexnet_client._options import DEFAULT_TIMEOUT, DEFAULT_URL
from alexnet_client.command import add_metadata, leave, run
from alexnet_client.contract import DEFAULT_MODEL, EMBEDDING, SERVED_MODELS

#: Of work that nobody waits for: seconds a request; and a server may be away for half a minute.
BULK_TIMEOUT = 60.0
PATIENT = Retry(attempts=40, backoff=0.2, budget=1.0)

EPILOG = """\
examples:
  alexnet-client classify boot.png shirt.jpg
  alexnet-client classify --json --top-k 1 *.png
  alexnet-client embed --output vectors.npy *.png
  alexnet-client embed --input photographs/ --output vectors.parquet --model alexnet_int8
  alexnet-client health --infer
  alexnet-client models
  alexnet-client bench --concurrency 8 --seconds 5
  source <(alexnet-client completion bash)

environment: ALEXNET_URL; ALEXNET_TLS_CA, ALEXNET_TLS_CERTIFICATE, ALEXNET_TLS_KEY, ALEXNET_TLS_SERVER_NAME: PEM files
             and the server's name; ALEXNET_TOKEN, or ALEXNET_TOKEN_FILE: a bearer token, under TLS only

exit status: 0 all is well; 1 the server failed; 2 wrong usage or an image that cannot be used;
             3 the server cannot be reached or is not ready; 4 no answer in time
"""


def parser() -> argparse.ArgumentParser:
    """The commands and their options."""
    root = argparse.ArgumentParser(
        prog="alexnet-client",
        description="Classify and embed images with a served AlexNet.",
        epilog=EPILOG,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    commands = root.add_subparsers(dest="command", required=True, metavar="COMMAND")
    classify = commands.add_parser("classify", help="print the most probable classes of images")
    classify.add_argument("--top-k", type=int, default=5, help="classes an image (%(default)s)")
    classify.add_argument("--json", action="store_true", help="one JSON object a line, an image each")
    embed = commands.add_parser(
        "embed",
        help="write embeddings, float32[N, 4096]",
        description="Write the embedding of each file, and beside it FILE.jsonl: which row is which file's, and why a "
        "file has none. Ended before its time, the same command goes on where it was.",
    )
    embed.add_argument("--output", type=Path, required=True, metavar="FILE", help=".npy or .parquet")
    embed.add_argument("--input", type=Path, metavar="DIR", help="all image files in a folder and below it")
    embed.add_argument(
        "--shard",
        type=_shard,
        default=(0, 1),
        metavar="INDEX/COUNT",
        help="of --input only one of so many parts, from 0; a file's name says which it is in",
    )
    embed.add_argument(
        "--in-flight",
        type=int,
        default=STREAM_IN_FLIGHT,
        metavar="N",
        help="requests, of up to 32 images, under way at once (%(default)s)",
    )
    health = commands.add_parser("health", help="ask whether the server is ready, and what it serves")
    health.add_argument("--infer", action="store_true", help="ask each model for a real inference, too")
    models = commands.add_parser("models", help="list the models of the server's repository")
    health.add_argument("--json", action="store_true", help="one JSON object")
    bench = commands.add_parser(
        "bench",
        help="a quick look at latency and throughput",
        description="Embed one image after the other, each once, and say how long it took and what failed.",
    )
    pace = bench.add_mutually_exclusive_group()
    pace.add_argument("--concurrency", type=int, default=1, metavar="N", help="callers, each waiting (%(default)s)")
    pace.add_argument("--rate", type=float, metavar="N", help="calls a second instead, that wait for none")
    bench.add_argument("--seconds", type=float, default=5.0, help="(%(default)s)")
    bench.add_argument("--json", action="store_true", help="one JSON object")
    completion = commands.add_parser("completion", help="print what completes this command in a shell")
    completion.add_argument("shell", choices=_completion.SHELLS)
    for command in (classify, embed, bench):
        files = "JPEG, PNG, WebP or GIF files" + ("; one of noise without" if command is bench else "")
        command.add_argument("images", nargs="+" if command is classify else "*", help=files)
        command.add_argument(
            "--model",
            default=DEFAULT_MODEL,
            help=f"one of {', '.join(SERVED_MODELS)} (%(default)s, decodes on the server)",
        )
    models.add_argument("--json", action="store_true", help="one JSON object a line, a model each")
    for command in (classify, embed, health, models, bench):
        command.add_argument(
            "--url",
            default=os.environ.get("ALEXNET_URL", DEFAULT_URL),
            help="host:port of Triton's gRPC endpoint, several with commas, or dns:///name:port (%(default)s)",
        )
        seconds = BULK_TIMEOUT if command is embed else DEFAULT_TIMEOUT
        what = "a request of up to 32 images" if command in (classify, embed) else "in all"
        command.add_argument("--timeout", type=float, default=seconds, help=f"seconds {what} (%(default)s)")
        add_metadata(command)
    return root


def main(arguments: list[str] | None = None) -> int:
    """Run one command; errors are one line on standard error."""
    options = parser().parse_args(arguments)
    return run("alexnet-client", lambda: _run(options))


def _run(options: argparse.Namespace) -> int:
    if options.command == "health":
        with AlexNetClient(options.url, timeout=options.timeout, **_along(options)) as client:
            health = client.health(infer=options.infer)
        if options.json:
            print(json.dumps(asdict(health)))
        else:
            print(f"{health.server} {health.version} at {options.url}: {'ready' if health.ready else 'not ready'}")
            print(f"models: {', '.join(health.models) or 'none'}")
            if health.answered is not None:
                print(f"answered: {', '.join(health.answered) or 'none'}")
        return 0 if health.ok else 3
    if options.command == "models":
        with AlexNetClient(options.url, timeout=options.timeout, **_along(options)) as client:
            for model in client.models():
                print(json.dumps(asdict(model)) if options.json else _state(model))
        return 0
    if options.command == "embed":
        return _embed(options)
    if options.command == "bench":
        return _measure(options)
    if options.command == "completion":
        print(_completion.script(parser(), options.shell))
        return 0
    return _classify(options)


def _classify(options: argparse.Namespace) -> int:
    failed = 0
    with AlexNetClient(options.url, options.model, options.timeout, **_along(options)) as client:
        for answer in client.stream(options.images, options.top_k):
            path = options.images[answer.place]
            if answer.predictions is None:
                failed += 1
                print(f"alexnet-client: {answer.error}", file=sys.stderr)
            elif options.json:
                print(json.dumps({"image": path, "predictions": [asdict(p) for p in answer.predictions]}))
            else:
                print(f"{path}: {', '.join(f'{p.label} {p.probability:.4f}' for p in answer.predictions)}")
    return InvalidRequest.exit_status if failed else 0


def _embed(options: argparse.Namespace) -> int:
    if bool(options.images) == bool(options.input):
        raise InvalidRequest("want image files, or --input with a folder of them")
    source = _bulk.find(options.input, options.shard) if options.input else _bulk.Source(Path(), options.images)
    with AlexNetClient(options.url, options.model, options.timeout, retry=PATIENT, **_along(options)) as client:
        summary = _bulk.embed(client, source, options.output, options.in_flight)
    print(f"{options.output}: float32[{summary.rows}, {EMBEDDING.shape[0]}]")
    if summary.resumed:
        print(f"{summary.resumed} files were done before")
    if summary.failed:
        print(f"{summary.failed} files cannot be used: {options.output}.jsonl says why", file=sys.stderr)
    # Who names a file wants it; of a folder the list is the answer.
    return InvalidRequest.exit_status if summary.failed and options.images else 0


def _measure(options: argparse.Namespace) -> int:
    once = Retry(attempts=1)
    with AlexNetClient(options.url, options.model, options.timeout, retry=once, **_along(options)) as client:
        seen = _bench.bench(
            client, options.seconds, concurrency=options.concurrency, rate=options.rate, images=options.images
        )
    print(json.dumps(seen.as_row()) if options.json else seen)
    return 0 if seen.latencies or seen.last is None else seen.last.exit_status


def _state(model: ModelState) -> str:
    reason = f" ({model.reason})" if model.reason else ""
    return f"{model.name:16} {model.version:>4}  {model.state}{reason}"


def _along(options: argparse.Namespace) -> dict[str, Any]:
    """Who asks is from the environment: an argument could be read in the list of processes."""
    return {"tls": TLS.from_environment(), "metadata": dict(options.metadata)}


def _shard(text: str) -> tuple[int, int]:
    index, _, count = text.partition("/")
    if not (index.isdigit() and count.isdigit() and int(index) < int(count)):
        raise argparse.ArgumentTypeError(f"got {text!r}, want INDEX/COUNT, such as 0/8: the first of eight")
    return int(index), int(count)


def installed() -> NoReturn:
    """The command ``alexnet-client``."""
    leave(main())


if __name__ == "__main__":
    installed()
