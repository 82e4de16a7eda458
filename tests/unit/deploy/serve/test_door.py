"""The door's configuration, and a real Envoy that leads where it is told."""

from __future__ import annotations

import http.server
import socketserver
import threading
import urllib.error
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from deploy.serve.door import METHODS, Door, bootstrap
from deploy.serve.ports import Ports, free_ports
from deploy.serve.process import ServerError
from deploy.serve.sockets import Sockets

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


def test_what_a_client_may_call_is_listed_and_all_else_is_refused() -> None:
    *allowed, last = routes(bootstrap(PORTS, Path("/door"), http_too=False), "grpc")
    called = {route["match"].get("path", "").rpartition("/")[2] for route in allowed}
    assert set(METHODS) <= called
    assert not called & set(CLOSED)
    assert (last["match"], last["direct_response"]) == ({"prefix": "/"}, {"status": 403})


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
            with pytest.raises(urllib.error.HTTPError, match="404"):
                urllib.request.urlopen(f"{url}/quitquitquit")
            door.lead_to(None, 5)
            with pytest.raises(urllib.error.HTTPError, match="503"):
                urllib.request.urlopen(f"{url}/metrics")
        finally:
            door.close()
    assert not door.alive
    door.close()


def test_one_that_does_not_open_is_told_with_its_log(tmp_path: Path) -> None:
    door = Door(Ports(grpc=70_000, http=0, metrics=0), tmp_path / "door", tmp_path / "log")
    with pytest.raises(ServerError, match=r"the door \(Envoy\) does not open: see .*log"):
        door.open(5)
    assert "port_value" in (tmp_path / "log").read_text() or "70000" in (tmp_path / "log").read_text()
    door.close()
