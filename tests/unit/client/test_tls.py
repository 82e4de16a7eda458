"""Who is who: certificates, tokens, and that neither is shown to those it is not for."""

from __future__ import annotations

import itertools
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import grpc
import numpy as np
import pytest

from alexnet_client import TLS, AlexNetClient, InvalidRequest, NotPermitted, RequestError, Retry, Unavailable
from alexnet_client.__main__ import main
from alexnet_client._images import as_file
from alexnet_client.contract import IMAGE
from alexnet_client.errors import FileError
from tests.blocking import Make
from tests.certificates import Certificates
from tests.conftest import environment
from tests.fake_triton import FakeTriton, Scripted

PICTURE = np.zeros(IMAGE.shape, np.uint8)
MODEL = "alexnet_int8"
ONCE = Retry(attempts=1)


@pytest.fixture(scope="module")
def ours(tmp_path_factory) -> Certificates:
    return Certificates(tmp_path_factory.mktemp("ours"))


@pytest.fixture(scope="module")
def theirs(tmp_path_factory) -> Certificates:
    return Certificates(tmp_path_factory.mktemp("theirs"))


@pytest.fixture(scope="module")
def server(ours: Certificates) -> Iterator[FakeTriton]:
    with FakeTriton(credentials=ours.server()) as running:
        yield running


@pytest.fixture(scope="module")
def asks(ours: Certificates) -> Iterator[FakeTriton]:
    """A server that wants to see a certificate."""
    with FakeTriton(credentials=ours.server(ask_for_clients=True)) as running:
        yield running


def test_whoever_knows_the_authority_is_answered(make: Make, server: FakeTriton, asks, ours: Certificates) -> None:
    for url, tls in ((server.url, ours.tls), (server.url, ours.mutual), (asks.url, ours.mutual)):
        with make(url, MODEL, tls=tls) as client:
            assert client.embed(PICTURE).shape == (1, 4096)
            assert client.health().live


def test_a_server_of_another_authority_is_not_trusted(make: Make, server: FakeTriton, theirs: Certificates) -> None:
    """At once, for it will not pass; and nothing is sent."""
    before = server.calls["ModelInfer"]
    for tls in (theirs.tls, TLS()):
        with make(server.url, MODEL, tls=tls) as client, pytest.raises(NotPermitted, match="look at `tls`") as caught:
            client.embed(PICTURE)
        assert caught.value.failure.attempts == 1
    assert server.calls["ModelInfer"] == before


def test_a_server_with_another_name_is_not_trusted_unless_it_is_named(make: Make, ours: Certificates, server) -> None:
    with make(server.url, MODEL, tls=replace(ours.tls, server_name="triton.example")) as client:
        assert client.embed(PICTURE).shape == (1, 4096)
    with (
        make(server.url, MODEL, tls=replace(ours.tls, server_name="other.example")) as client,
        pytest.raises(NotPermitted, match="look at `tls`"),
    ):
        client.embed(PICTURE)


def test_a_server_that_asks_does_not_answer_strangers(make: Make, asks, ours, theirs) -> None:
    before = asks.calls["ModelInfer"]
    stranger = TLS(ours.folder / "ca.pem", theirs.folder / "client.pem", theirs.folder / "client.key")
    for tls in (ours.tls, stranger):
        with make(asks.url, MODEL, tls=tls, retry=ONCE) as client, pytest.raises((NotPermitted, Unavailable)):
            client.embed(PICTURE)
    with make(asks.url, MODEL, retry=ONCE) as client, pytest.raises(Unavailable):
        client.embed(PICTURE)
    assert asks.calls["ModelInfer"] == before


def test_a_token_goes_with_every_call_and_may_change(make: Make, server: FakeTriton, ours: Certificates) -> None:
    server.metadata.clear()
    tokens = (f"token-{number}" for number in itertools.count())
    with make(server.url, MODEL, tls=replace(ours.tls, token="secret"), metadata={"x-team": "vision"}) as client:
        client.embed(PICTURE)
    with make(server.url, MODEL, tls=replace(ours.tls, token=lambda: next(tokens))) as client:
        client.embed(PICTURE)
        client.embed(PICTURE)
    assert [each["authorization"] for each in server.metadata] == ["Bearer secret", "Bearer token-0", "Bearer token-1"]
    assert server.metadata[0]["x-team"] == "vision"


def test_a_token_is_never_shown_nor_sent_for_all_to_read(make: Make, server, ours, caplog, capfd) -> None:
    with FakeTriton() as plain, make(plain.url, MODEL, tls=replace(ours.tls, token="secret"), retry=ONCE) as client:
        with pytest.raises((NotPermitted, Unavailable)) as refused:
            client.embed(PICTURE)
        assert not plain.metadata
    server.script(Scripted(grpc.StatusCode.UNAUTHENTICATED, "expired"))
    with make(server.url, MODEL, tls=replace(ours.tls, token="secret"), metadata={"x-key": "secret"}) as client:
        with pytest.raises(NotPermitted, match="look at `tls`, its token") as caught:
            client.embed(PICTURE)
        shown = [repr(client), str(refused.value), str(caught.value), repr(caught.value), repr(caught.value.failure)]
    said = capfd.readouterr()
    assert "secret" not in "".join([*shown, caplog.text, said.out, said.err, repr(caught.value.__cause__)])


def test_files_that_cannot_be_used_are_said_at_once(make: Make, ours: Certificates, tmp_path: Path) -> None:
    (tmp_path / "no.pem").write_text("what")
    with pytest.raises(FileError, match=r"missing.pem"):
        make(tls=TLS(ca=tmp_path / "missing.pem"))
    with pytest.raises(InvalidRequest, match=r"no.pem is not PEM: want"):
        make(tls=TLS(ca=tmp_path / "no.pem"))
    with pytest.raises(InvalidRequest, match="give both"):
        TLS(certificate=ours.folder / "client.pem")
    with pytest.raises(InvalidRequest, match="tls is a bool"):
        make(tls=True)


def test_the_environment_names_the_files(server: FakeTriton, ours: Certificates) -> None:
    assert TLS.from_environment({}) is None
    tls = TLS.from_environment({"ALEXNET_TLS_CA": str(ours.folder / "ca.pem"), "ALEXNET_TLS_SERVER_NAME": "localhost"})
    with AlexNetClient(server.url, MODEL, tls=tls) as client:
        assert client.embed(PICTURE).shape == (1, 4096)


def test_the_command_line_reads_it_too(server: FakeTriton, ours: Certificates, monkeypatch, capsys) -> None:
    server.metadata.clear()
    for name, value in (
        ("ALEXNET_URL", server.url),
        ("ALEXNET_TLS_CA", str(ours.folder / "ca.pem")),
        ("ALEXNET_TOKEN", "secret"),
    ):
        monkeypatch.setenv(name, value)
    picture = ours.folder / "picture.png"
    picture.write_bytes(as_file(PICTURE))
    assert main(["health"]) == main(["classify", str(picture)]) == 0
    assert server.metadata[0]["authorization"] == "Bearer secret"
    monkeypatch.setenv("ALEXNET_TOKEN_FILE", str(picture))
    assert main(["classify", str(picture)]) == 2
    said = capsys.readouterr()
    assert "got ALEXNET_TOKEN and ALEXNET_TOKEN_FILE: want one of them" in said.err
    assert "secret" not in said.out + said.err


def test_a_token_in_a_file_is_read_before_each_attempt(make: Make, server: FakeTriton, ours, tmp_path: Path) -> None:
    server.metadata.clear()
    file = tmp_path / "token"
    tls = TLS.from_environment({"ALEXNET_TLS_CA": str(ours.folder / "ca.pem"), "ALEXNET_TOKEN_FILE": str(file)})
    with make(server.url, MODEL, tls=tls, retry=ONCE) as client:
        for token in ("one", "two"):
            file.write_text(f"{token}\n")
            client.embed(PICTURE)
        file.unlink()
        with pytest.raises(Unavailable, match=str(file)):
            client.embed(PICTURE)
    assert [each["authorization"] for each in server.metadata] == ["Bearer one", "Bearer two"]


@pytest.mark.parametrize("encrypted", [True, False])
def test_who_speaks_another_way_is_told_so_in_one_line(server: FakeTriton, ours: Certificates, encrypted: bool) -> None:
    """And gRPC's own log, of which nobody can make anything, is not there."""
    ca = {} if encrypted else {"ALEXNET_TLS_CA": str(ours.folder / "ca.pem")}
    with FakeTriton() as plain:
        url = server.url if encrypted else plain.url
        command = [sys.executable, "-m", "alexnet_client", "health", "--url", url]
        done = subprocess.run(command, env=environment() | ca, capture_output=True, text=True, check=False)
    (line,) = done.stderr.splitlines()
    if encrypted:
        assert line.startswith(f"alexnet-client: no server answers at {url} (failed to connect")
        assert line.endswith("): if it speaks TLS, give `tls` (ALEXNET_TLS_CA)")
    else:
        assert line.startswith(f"alexnet-client: {url} speaks no TLS (failed to connect")
        assert line.endswith("): leave out `tls` (ALEXNET_TLS_CA and its like, ALEXNET_TOKEN)")


def test_plain_text_and_tls_do_not_mix(make: Make, server: FakeTriton, ours: Certificates) -> None:
    with make(server.url, MODEL, retry=ONCE) as client, pytest.raises(RequestError):
        client.embed(PICTURE)
    with (
        FakeTriton() as plain,
        make(plain.url, MODEL, tls=ours.tls, retry=ONCE) as client,
        pytest.raises((NotPermitted, Unavailable)),
    ):
        client.embed(PICTURE)
