"""How much a canary gets follows from what Prometheus knows of it, and is nothing whenever that is too little."""

from __future__ import annotations

import json
import threading
import urllib.parse
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import pytest

from deploy.gateway.canary import Seen, look, main, share

STEPS = (10, 50, 100)


@pytest.mark.parametrize(
    ("seen", "percent", "reason"),
    [
        (None, 0, "Prometheus cannot be asked"),
        (Seen(False, (), 900), 0, "Prometheus does not have the metrics of both"),
        (Seen(True, ("AlexNetCanaryDrifts", "AlexNetCanarySlow"), 900), 0, "AlexNetCanaryDrifts, AlexNetCanarySlow"),
        (Seen(False, ("AlexNetCanaryFails",), 900), 0, "ended by AlexNetCanaryFails"),
        (Seen(True, (), 0), 10, "step 1 of 3"),
        (Seen(True, (), 299.9), 10, "step 1 of 3"),
        (Seen(True, (), 300), 50, "step 2 of 3"),
        (Seen(True, (), 600), 100, "step 3 of 3"),
        (Seen(True, (), 900), 100, "it has done well"),
        (Seen(True, (), 1e6), 100, "it has done well"),
    ],
)
def test_the_share(seen: Seen | None, percent: int, reason: str) -> None:
    given = share(seen, STEPS, step_seconds=300)
    assert given.percent == percent
    assert reason in given.reason


@contextmanager
def prometheus(answers: dict[str, list[dict]] | None) -> Iterator[str]:
    """Answers an expression by the first key that is in it; None is an error of its own."""

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            (query,) = urllib.parse.parse_qs(urllib.parse.urlparse(self.path).query)["query"]
            assert 'canary="c"' in query
            if answers is None:
                self.send_error(503)
                return
            result = next((answer for key, answer in answers.items() if key in query), [])
            self.send_response(200)
            self.end_headers()
            self.wfile.write(json.dumps({"status": "success", "data": {"result": result}}).encode())

        def log_message(self, *_: object) -> None:
            pass

    with ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
        thread = threading.Thread(target=server.serve_forever, args=(0.01,))
        thread.start()
        try:
            yield f"http://127.0.0.1:{server.server_port}/"
        finally:
            server.shutdown()
            thread.join()


def test_what_prometheus_knows() -> None:
    def sample(value: str = "1", **metric: str) -> dict:
        return {"metric": metric, "value": [0, value]}

    answers = {
        "canary_watched": [sample()],
        "ALERTS": [sample(alertname="AlexNetCanarySlow"), sample(alertname="AlexNetCanaryFails")],
        "canary_calls": [sample("620")],
    }
    with prometheus(answers) as url:
        assert look(url, "c") == Seen(True, ("AlexNetCanaryFails", "AlexNetCanarySlow"), 620.0)
    with prometheus({}) as url:
        assert look(url, "c") == Seen(False, (), 0.0)


@pytest.mark.parametrize("answers", [None, {"": [{}]}, {"": [{"metric": {}, "value": [0, "many"]}]}])
def test_what_cannot_be_understood_is_no_answer(answers: dict[str, list[dict]] | None) -> None:
    with prometheus(answers) as url:
        assert look(url, "c") is None


def test_nobody_is_no_answer() -> None:
    assert look("http://127.0.0.1:9", "c") is None


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["0"], "got 0, want 1 to 100"),
        (["10", "101"], "got 101, want 1 to 100"),
        (["ten"], "got ten, want 1 to 100"),
        (["10", "--prometheus", "file:///etc/passwd"], "got file:///etc/passwd, want http://HOST:PORT"),
    ],
)
def test_what_cannot_be_meant_is_an_error(
    arguments: list[str], message: str, capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(SystemExit):
        main(["--admin=admin", "--prometheus=http://127.0.0.1:9", "--canary=c", *arguments])
    assert message in capsys.readouterr().err
