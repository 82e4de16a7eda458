"""The door's configuration, and a real Envoy that leads where it is told."""

from __future__ import annotations

import http.server
import socketserver
import threading
import urllib.error
import urllib.request
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path

import grpc
import pytest
from google.protobuf.internal.encoder import _VarintBytes
from tritonclient.grpc import service_pb2

from alexnet_client.contract import MAX_REQUEST_BYTES, OVERLOADED
from deploy.serve import envoy
from deploy.serve.admission import LEAST
from deploy.serve.door import Door
from deploy.serve.envoy import DOOR_METRICS, INFER, METHODS, NOT_ELSEWHERE, SERVICE, bootstrap
from deploy.serve.ports import Ports, free_ports
from deploy.serve.process import ServerError
from deploy.serve.sockets import Sockets
from deploy.serve.tls import ServerTLS

PORTS = Ports(grpc=1, http=2, metrics=3)
#: Of KServe's service, what changes a server.
CLOSED = (
    "RepositoryModelLoad",
    "SystemSharedMemoryRegister",
    "CudaSharedMemoryRegister",
    "TraceSetting",
    "LogSettings",
)


def routes(config: dict, name: str) -> list[dict]:
    (listener,) = [each for each in config["static_resources"]["listeners"] if each["name"] == name]
    manager = listener["filter_chains"][0]["filters"][0]["typed_config"]
    return manager["route_config"]["virtual_hosts"][0]["routes"]


def test_http_is_encrypted_as_grpc_is() -> None:
    tls = ServerTLS(Path("certificate.pem"), Path("key.pem"), Path("clients.pem"))
    listeners = bootstrap(PORTS, Path("/door"), http_too=True, tls=tls)["static_resources"]["listeners"]
    sockets = {each["name"]: each["filter_chains"][0].get("transport_socket") for each in listeners}
    assert sockets.pop("metrics") is None
    for name, protocol in (("grpc", "h2"), ("http", "http/1.1")):
        context = sockets[name]["typed_config"]
        assert context["require_client_certificate"]
        assert context["common_tls_context"]["alpn_protocols"] == [protocol]


def test_what_a_client_may_call_is_listed_and_all_else_is_refused() -> None:
    *allowed, last = routes(bootstrap(PORTS, Path("/door"), http_too=False), "grpc")
    called = {route["match"].get("path", "").rpartition("/")[2] for route in allowed}
    assert set(METHODS) <= called
    assert not called & set(CLOSED)
    assert (last["match"], last["direct_response"]) == ({"prefix": "/"}, {"status": 403})


def test_who_asks_for_readiness_is_told_no_while_something_is_mended_and_an_inference_goes_on() -> None:
    told = [
        route["match"]
        for route in routes(bootstrap(PORTS, Path("/door"), http_too=True), "grpc")
        if "runtime_fraction" in route["match"]
    ]
    assert [match["path"] for match in told if match["path"] != INFER] == [f"{SERVICE}/ServerReady"]
    assert all(match["runtime_fraction"]["default_value"] == {"numerator": 0} for match in told)


def test_http_has_a_listener_only_if_it_is_asked_for() -> None:
    for asked in (False, True):
        config = bootstrap(PORTS, Path("/door"), http_too=asked)
        for kind in ("listeners", "clusters"):
            assert ("http" in [each["name"] for each in config["static_resources"][kind]]) == asked
        for listener in config["static_resources"]["listeners"]:
            address = listener["address"]["socket_address"]
            assert address == {"address": "127.0.0.1", "port_value": getattr(PORTS, listener["name"])}


@contextmanager
def answering(path: Path, text: str) -> Iterator[None]:
    """A server of HTTP on a Unix socket."""

    class Handler(http.server.BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def address_string(self) -> str:
            return ""

        def log_message(self, *_: object) -> None:
            pass

        def do_GET(self) -> None:
            self.send_response(200)
            self.send_header("Content-Length", str(len(text)))
            self.end_headers()
            self.wfile.write(text.encode())

    path.parent.mkdir(parents=True)
    with socketserver.ThreadingUnixStreamServer(str(path), Handler) as server:
        server.daemon_threads = True
        threading.Thread(target=server.serve_forever, args=(0.01,)).start()
        try:
            yield
        finally:
            server.shutdown()


FAILED = 'nv_inference_request_failure{model="%s",reason="%s",version="%d"} %d'


@pytest.mark.parametrize(
    ("release", "counted"),
    [
        (1, [("OTHER", 1, 14), ("REJECTED", 1, 7), ("BACKEND", 1, 0)]),
        (12, [("OTHER", 1, 7), ("OTHER", 12, 7), ("REJECTED", 12, 4), ("REJECTED", 1, 3), ("BACKEND", 1, 0)]),
    ],
)
def test_failures_of_the_ensemble_are_counted_once(
    tmp_path: Path, release: int, counted: list[tuple[str, int, int]]
) -> None:
    """Triton's sum is twice what it was; between its two it may be odd. All else is as Triton says it."""
    around = ["# TYPE nv_inference_request_failure counter", FAILED % ("alexnet_int8", "OTHER", release, 5)]
    text = "\n".join([*around, *(FAILED % ("alexnet", *each) for each in counted), 'nv_x{y="z"} 0.5', ""])
    ports, sockets = free_ports(), Sockets(tmp_path / "room")
    door = Door(ports, tmp_path / "door", tmp_path / "log")
    with answering(sockets.metrics, text):
        door.lead_to(sockets, 5)
        door.open(5)
        try:
            with urllib.request.urlopen(f"http://127.0.0.1:{ports.metrics}/metrics") as answer:
                got = answer.read().decode()
        finally:
            door.close()
    once = {FAILED % ("alexnet", *each) for each in (("OTHER", 1, 7), ("REJECTED", 1, 3), ("BACKEND", 1, 0))}
    assert sorted(got.splitlines()) == sorted([*around, *once, 'nv_x{y="z"} 0.5'])


def test_it_leads_where_it_is_told_and_to_nothing_else(tmp_path: Path) -> None:
    ports = free_ports()
    rooms = [Sockets(tmp_path / name) for name in ("one", "two")]
    door = Door(ports, tmp_path / "door", tmp_path / "log")
    url = f"http://127.0.0.1:{ports.metrics}"
    with answering(rooms[0].metrics, "one"), answering(rooms[1].metrics, "two"):
        door.lead_to(rooms[0], 5)
        door.open(5)
        try:
            for room, text in ((rooms[0], b"one"), (rooms[1], b"two"), (rooms[0], b"one")):
                door.lead_to(room, 5)
                with urllib.request.urlopen(f"{url}/metrics") as answer:
                    assert answer.read() == text
            with urllib.request.urlopen(f"{url}{DOOR_METRICS}") as answer:
                assert b'envoy_cluster_upstream_rq_time_bucket{envoy_cluster_name="metrics"' in answer.read()
            for path in (
                "/quitquitquit",
                "/stats/prometheus",
                f"{DOOR_METRICS}/../../quitquitquit",
                f"{DOOR_METRICS}/x",
            ):
                with pytest.raises(urllib.error.HTTPError, match="404"):
                    urllib.request.urlopen(f"{url}{path}")
            with pytest.raises(urllib.error.HTTPError, match="404"):
                urllib.request.urlopen(f"{url}{DOOR_METRICS}", data=b"a body")
            with pytest.raises(urllib.error.HTTPError, match="404"):
                urllib.request.urlopen(f"{url}/metrics", data=b"a body")
            door.lead_to(None, 5)
            with pytest.raises(urllib.error.HTTPError, match="503"):
                urllib.request.urlopen(f"{url}/metrics")
        finally:
            door.close()
    assert not door.alive
    door.close()


def request(shape: Sequence[int] = (1, 224, 224, 3), raw: bytes = b"pixels", **fields: object) -> bytes:
    message = service_pb2.ModelInferRequest(model_name="alexnet_int8", **fields)
    message.inputs.add(name="image", datatype="UINT8", shape=shape)
    message.raw_input_contents.append(raw)
    return message.SerializeToString()


def repeated(field: str, count: int) -> bytes:
    message = service_pb2.ModelInferRequest()
    getattr(message, field).add(name="n")
    return message.SerializeToString() * count  # a message after the other is their sum


def typed() -> bytes:
    """Contents in the input itself, and before its shape."""
    contents = service_pb2.InferTensorContents(bytes_contents=[bytes(100_000)]).SerializeToString()
    tensor = b"\x2a" + _VarintBytes(len(contents)) + contents + b"\x18\x02\x18\x01"
    return b"\x2a" + _VarintBytes(len(tensor)) + tensor


def classes(count: int) -> bytes:
    message = service_pb2.ModelInferRequest.FromString(request())
    message.outputs.add(name="probabilities").parameters["classification"].int64_param = count
    return message.SerializeToString()


def files(raw: bytes, shape: Sequence[int] = (1, 1)) -> bytes:
    message = service_pb2.ModelInferRequest(model_name="alexnet")
    message.inputs.add(name="encoded", datatype="BYTES", shape=shape)
    message.raw_input_contents.append(raw)
    return message.SerializeToString()


def last_first() -> bytes:
    """The files before the tensor that says what they are."""
    message = service_pb2.ModelInferRequest.FromString(files(b"\x03\0\0\0abc"))
    raw = service_pb2.ModelInferRequest(raw_input_contents=message.raw_input_contents).SerializeToString()
    del message.raw_input_contents[:]
    return raw + message.SerializeToString()


ACCEPTED = {
    "a file": files(b"\x03\0\0\0abc"),
    "three files": files(b"\x03\0\0\0abc\0\0\0\0\0\x01\0\0" + bytes(256), (3, 1)),
    "the file first": last_first(),
    "classes": classes(2**31 - 1),
    "128": request((128, 224, 224, 3), bytes(128 * 1000)),
    "pixels first": b"\x3a\x90\x4e" + bytes(10_000) + request(),
    "typed contents": typed(),
    "parameters": request(id="7", model_version="1"),
}
REFUSED = {
    "a short file": (files(b"\xff\0\0\0abc"), "a file that is shorter than its length says"),
    "a file of 4 GiB": (files(b"\xff\xff\xff\xffabc"), "a file that is shorter than its length says"),
    "a short file, first": (last_first().replace(b"\x03\0\0\0abc", b"\x04\0\0\0abc"), "shorter than its length says"),
    "no file": (files(b""), "fewer files than its shape says"),
    "half a length": (files(b"\x03\0\0\0abc\0\0", (2, 1)), "fewer files than its shape says"),
    "one file more": (files(b"\x03\0\0\0abc\0\0\0\0"), "more files than its shape says"),
    "millions of files": (files(bytes(4_000_000), (1, 1_000_000)), "a shape of 1000000 files: want 128 at most"),
    "none": (request((0, 224, 224, 3)), "first dimension of 0: want 1 to 128 images"),
    "129": (request((129, 224, 224, 3)), "first dimension of 129"),
    "2^62": (request((2**62, 224, 224, 3)), "first dimension of 4611686018427387904"),
    "negative": (request((-1, 224, 224, 3)), "first dimension of"),
    "dimensions": (request([1] * 100_000), "more than 8 dimensions"),
    "inputs": (repeated("inputs", 1000), "more than 63 fields"),
    "outputs": (repeated("outputs", 1_000_000), "more than 63 fields"),
    "2^62 classes": (classes(2**62), "class_count of 4611686018427387904: want 2147483647 at most"),
    "fewer classes than none": (classes(-1), "class_count of 18446744073709551616: want"),
    "name": (request(id="x" * 100_000), "more than 1024 bytes"),
    "cut": (request()[:-1], "no ModelInferRequest"),
    "cut in a number": (b"\x08\xff", "ends too soon"),
    "long number": (b"\x08" + b"\xff" * 11, "more than 64 bits"),
    "text": (b"GET / HTTP/1.1", "no ModelInferRequest"),
    "empty batch in typed contents": (b"\x2a\x02\x18\x00", "first dimension of 0"),
}


class Behind(grpc.GenericRpcHandler):
    """A gRPC server on a Unix socket: inference waits for a word, anything else is answered at once."""

    def __init__(self, sockets: Sockets) -> None:
        self.arrived = threading.Semaphore(0)
        self.go = threading.Event()
        self.sockets = sockets

    def service(self, details: grpc.HandlerCallDetails) -> grpc.RpcMethodHandler:
        def answer(message: bytes, context: grpc.ServicerContext) -> bytes:
            if details.method.endswith("/ModelInfer"):
                self.arrived.release()
                self.go.wait()
            return str(len(message)).encode()

        return grpc.unary_unary_rpc_method_handler(answer)

    @contextmanager
    def running(self) -> Iterator[None]:
        server = grpc.server(ThreadPoolExecutor(LEAST + 8), [self], options=[("grpc.max_receive_message_length", -1)])
        self.sockets.folder.mkdir()
        server.add_insecure_port(f"unix:{self.sockets.grpc}")
        server.start()
        try:
            yield
        finally:
            self.go.set()
            server.stop(None).wait()


@contextmanager
def opened(folder: Path) -> Iterator[tuple[Behind, Callable[..., grpc.Future]]]:
    """A server behind an open door, and how to call it."""
    ports, behind = free_ports(), Behind(Sockets(folder / "room"))
    door = Door(ports, folder / "door", folder / "log")
    door.lead_to(behind.sockets, 5)
    with behind.running():
        door.open(5)
        try:
            with grpc.insecure_channel(f"127.0.0.1:{ports.grpc}") as channel:

                def call(method: str, message: bytes = b"", **options: object) -> grpc.Future:
                    stub = channel.unary_unary(f"{SERVICE}/{method}")
                    return stub.future(message, timeout=30, **options)

                call.channel, call.door = channel, door
                yield behind, call
        finally:
            behind.go.set()
            door.close()


@pytest.fixture(scope="module")
def behind(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[Behind, Callable[..., grpc.Future]]]:
    """One that answers at once."""
    with opened(tmp_path_factory.mktemp("behind")) as (server, call):
        server.go.set()
        yield server, call


def test_full_is_said_at_once_and_is_not_dead(tmp_path: Path) -> None:
    with opened(tmp_path) as (server, call):
        _fill_and_ask(server, call)


def _fill_and_ask(server: Behind, call: Callable[..., grpc.Future]) -> None:
    under_way = [call("ModelInfer", request()) for _ in range(LEAST)]
    for _ in under_way:
        server.arrived.acquire()
    refused = call("ModelInfer", request(raw=bytes(2**20)))
    assert refused.code() == grpc.StatusCode.UNAVAILABLE
    assert refused.details().startswith(OVERLOADED)
    assert NOT_ELSEWHERE in (*refused.initial_metadata(), *refused.trailing_metadata())
    assert call("ModelReady").result() == b"0"
    server.go.set()
    assert {each.result() for each in under_way} == {str(len(request())).encode()}
    assert call("ModelInfer", request(raw=b"1234")).result() == str(len(request(raw=b"1234"))).encode()


def test_what_is_larger_than_the_contract_allows_does_not_reach_the_server(behind) -> None:
    server, call = behind
    largest = request(raw=bytes(MAX_REQUEST_BYTES - 1024))
    assert call("ModelInfer", largest).result() == str(len(largest)).encode()
    server.arrived.acquire()
    refused = call("ModelInfer", request(raw=bytes(MAX_REQUEST_BYTES)))
    assert refused.code() == grpc.StatusCode.UNKNOWN  # Envoy has no better code for it
    assert f"at most {MAX_REQUEST_BYTES:,} bytes" in refused.details()
    assert not server.arrived.acquire(blocking=False)


@pytest.mark.parametrize("name", ACCEPTED)
def test_a_sound_request_goes_through_as_it_is(behind, name: str) -> None:
    server, call = behind
    assert call("ModelInfer", ACCEPTED[name]).result() == str(len(ACCEPTED[name])).encode()
    server.arrived.acquire()


@pytest.mark.parametrize("name", REFUSED)
def test_what_would_have_triton_fail_others_requests_does_not_reach_it(behind, name: str) -> None:
    server, call = behind
    message, reason = REFUSED[name]
    refused = call("ModelInfer", message)
    assert refused.code() == grpc.StatusCode.INVALID_ARGUMENT
    assert reason in refused.details()
    assert not server.arrived.acquire(blocking=False)


def trickling(call: Callable[..., grpc.Future], rest: threading.Event) -> grpc.Future:
    """A request whose message is there, and whose end comes when it may."""

    def trickle() -> Iterator[bytes]:
        yield request()
        rest.wait()

    return call.channel.stream_unary(INFER).future(trickle(), timeout=30)


def test_a_request_that_trickles_in_waits_at_the_door(behind) -> None:
    server, call = behind
    rest = threading.Event()
    slow = trickling(call, rest)
    assert call("ModelInfer", request()).result()
    server.arrived.acquire()
    assert not server.arrived.acquire(blocking=False)
    rest.set()
    assert slow.result() == str(len(request())).encode()
    server.arrived.acquire()


def test_who_has_no_time_for_an_answer_is_told_at_once(tmp_path: Path) -> None:
    """While no answer is as fast; then it is tried."""
    with opened(tmp_path) as (server, call):
        call.door.adjust(0.021)
        infer = call.channel.unary_unary(INFER)
        for seconds in (0.001, 0.015):
            with pytest.raises(grpc.RpcError) as caught:
                infer(request(), timeout=seconds)
            assert caught.value.code() == grpc.StatusCode.DEADLINE_EXCEEDED
        assert not server.arrived.acquire(blocking=False)
        server.go.set()
        assert infer(request(), timeout=10)
        assert server.arrived.acquire(timeout=10)
        call.door.adjust(9.0)
        told = infer.future(request(), timeout=0.4)
        assert told.code() == grpc.StatusCode.DEADLINE_EXCEEDED
        assert "no answer is as fast" in told.details()
        call.door.adjust(0.0)
        assert infer(request(), timeout=0.4)


def test_those_that_never_arrive_keep_nobody_out_and_are_told(tmp_path: Path, monkeypatch) -> None:
    """More than may be under way at once."""
    monkeypatch.setattr(envoy, "BODY_SECONDS", 1)
    with opened(tmp_path) as (server, call):
        server.go.set()
        never = threading.Event()
        slow = [trickling(call, never) for _ in range(2 * LEAST)]
        try:
            for _ in range(20):
                assert call("ModelInfer", request()).result()
            assert {each.code() for each in slow} == {grpc.StatusCode.DEADLINE_EXCEEDED}
            assert "to arrive" in slow[0].details()
        finally:
            never.set()


def test_nor_does_a_compressed_one_or_a_long_name_in_another_call(behind) -> None:
    _, call = behind
    assert "compressed" in call("ModelInfer", request(raw=bytes(5000)), compression=grpc.Compression.Gzip).details()
    refused = call("ModelReady", bytes(5000))
    assert refused.code() == grpc.StatusCode.INVALID_ARGUMENT
    assert "more than 1024 bytes" in refused.details()


def test_one_that_does_not_open_is_told_with_its_log(tmp_path: Path) -> None:
    door = Door(Ports(grpc=70_000, http=0, metrics=0), tmp_path / "door", tmp_path / "log")
    with pytest.raises(ServerError, match=r"the door \(Envoy\) does not open: see .*log"):
        door.open(5)
    assert "port_value" in (tmp_path / "log").read_text() or "70000" in (tmp_path / "log").read_text()
    door.close()
