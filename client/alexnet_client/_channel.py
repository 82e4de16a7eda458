"""How a connection is set, of either kind."""

from __future__ import annotations

import json
from typing import Any

import grpc
from tritonclient.grpc.service_pb2 import DESCRIPTOR, ModelInferResponse
from tritonclient.grpc.service_pb2_grpc import GRPCInferenceServiceStub

from alexnet_client._options import Options
from alexnet_client._request import Request

_SERVICE = DESCRIPTOR.services_by_name["GRPCInferenceService"].full_name
#: Milliseconds: a connection that carries a call and is silent for so long is asked for a sign of life; Triton takes
#: offence at more than two such questions (``--grpc-http2-max-ping-strikes``), so few calls may meet one.
KEEPALIVE, KEEPALIVE_TIMEOUT = 20_000, 5_000
#: Milliseconds between attempts to connect: gRPC's own 1 to 120 s would outlive a server's restart.
FIRST_RECONNECT, LAST_RECONNECT = 100, 2_000
#: Milliseconds that connecting may take; gRPC calls it the least time between two attempts, but for one that is refused
#: that is the above.
CONNECT = 5_000


def arguments(options: Options) -> list[tuple[str, Any]]:
    """A channel's arguments (grpc/impl/channel_arg_names.h)."""
    given: list[tuple[str, Any]] = [
        # A request carries files, an answer any number of classes; the contract's limits are the server's to keep.
        ("grpc.max_send_message_length", -1),
        ("grpc.max_receive_message_length", -1),
        ("grpc.keepalive_time_ms", KEEPALIVE),
        ("grpc.keepalive_timeout_ms", KEEPALIVE_TIMEOUT),
        ("grpc.initial_reconnect_backoff_ms", FIRST_RECONNECT),
        ("grpc.min_reconnect_backoff_ms", CONNECT),
        ("grpc.max_reconnect_backoff_ms", LAST_RECONNECT),
        # Ours repeats by what the server says, which gRPC's cannot.
        ("grpc.enable_retries", 0),
        # Clients of one process do not share a connection: each has its own, to close.
        ("grpc.use_local_subchannel_pool", 1),
    ]
    if options.balanced:
        # Without healthCheckConfig: Triton 24.10 has no Watch, and gRPC says so on standard error, a line a connection.
        service: dict[str, Any] = {"loadBalancingConfig": [{"round_robin": {}}]}
        given.append(("grpc.service_config", json.dumps(service)))
    return given


def connect(options: Options, credentials: grpc.ChannelCredentials | None, module: Any) -> Any:
    """A channel; nothing is sent yet.

    Args:
        credentials: None is plain text.
        module: ``grpc`` or ``grpc.aio``.
    """
    given = arguments(options)
    if credentials is None:
        return module.insecure_channel(options.target, options=given)
    if options.tls is not None and options.tls.server_name is not None:
        given.append(("grpc.ssl_target_name_override", options.tls.server_name))
    return module.secure_channel(options.target, credentials, options=given)


def stub(channel: Any) -> Any:
    """The calls of the service, of either kind of channel; ``ModelInfer`` takes a :class:`Request`."""
    made = GRPCInferenceServiceStub(channel)
    made.ModelInfer = channel.unary_unary(f"/{_SERVICE}/ModelInfer", Request.encode, ModelInferResponse.FromString)
    return made
