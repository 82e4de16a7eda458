"""What a server says of itself: its version, and of the models' configuration what decides on speed."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from tritonclient.grpc import InferenceServerClient
from tritonclient.utils import InferenceServerException

from alexnet_client import TLS
from deploy.loadtest.load_report import Server

#: Of a model's configuration.
TELLING = ("platform", "backend", "max_batch_size", "instance_group", "dynamic_batching")
#: Seconds that each answer may take.
PATIENCE = 5.0


def describe(url: str, models: Sequence[str], *, started: bool, tls: TLS | None = None) -> Server:
    """Ask a server, of an ensemble also for what it consists of; one that does not tell is described as such."""
    name = [("grpc.ssl_target_name_override", tls.server_name)] if tls and tls.server_name else None
    with InferenceServerClient(url, creds=tls.credentials() if tls else None, channel_args=name) as client:
        try:
            said = client.get_server_metadata(as_json=True, client_timeout=PATIENCE)
            found: dict[str, dict[str, Any]] = {}
            wanted = list(models)
            while wanted:
                model = wanted.pop(0)
                config = client.get_model_config(model, as_json=True, client_timeout=PATIENCE)["config"]
                found[model] = {name: config[name] for name in TELLING if config.get(name)}
                steps = config.get("ensemble_scheduling", {}).get("step", [])
                wanted += [step["model_name"] for step in steps if step["model_name"] not in (*found, *wanted)]
        except InferenceServerException:
            return Server(started)
    return Server(started, said.get("name"), said.get("version"), found)
