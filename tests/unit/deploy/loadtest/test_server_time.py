"""What Triton and our backends count is taken before and after a run, and what was counted before does not count."""

from __future__ import annotations

import http.server
import threading
from collections.abc import Iterator

import pytest

from deploy.loadtest.loadtest_error import LoadTestError
from deploy.loadtest.server_time import between, count, total

TEXT = """\
# TYPE nv_inference_request_success counter
nv_inference_request_success{{model="alexnet_int8",version="1"}} {requests}
nv_inference_request_success{{model="alexnet_fp32",version="1"}} {probes}
# TYPE nv_inference_exec_count counter
nv_inference_exec_count{{model="alexnet_int8",version="1"}} {runs}
# TYPE nv_inference_queue_duration_us counter
nv_inference_queue_duration_us{{model="alexnet_int8",version="1"}} {queue}
# TYPE nv_inference_compute_infer_duration_us counter
nv_inference_compute_infer_duration_us{{model="alexnet_int8",version="1"}} {infer}
# TYPE nv_inference_pending_request_count gauge
nv_inference_pending_request_count{{model="alexnet_int8",version="1"}} {pending}
# TYPE alexnet_batch_images histogram
alexnet_batch_images_bucket{{model="alexnet_int8",version="1",le="1"}} {ones}
alexnet_batch_images_bucket{{model="alexnet_int8",version="1",le="2"}} {ones}
alexnet_batch_images_bucket{{model="alexnet_int8",version="1",le="4"}} {runs}
alexnet_batch_images_bucket{{model="alexnet_int8",version="1",le="+Inf"}} {runs}
"""
BEFORE = {"requests": 10, "probes": 3, "runs": 10, "queue": 1e6, "infer": 2e6, "ones": 10, "pending": 1}
AFTER = {"requests": 110, "probes": 5, "runs": 50, "queue": 2e6, "infer": 4e6, "ones": 20, "pending": 0}


@pytest.fixture
def answers() -> Iterator[tuple[str, list[str]]]:
    """URL of a server that gives these answers, one after the other."""
    texts: list[str] = []

    class Handler(http.server.BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            self.send_response(200)
            self.end_headers()
            self.wfile.write(texts.pop(0).encode())

        def log_message(self, *arguments: object) -> None:
            pass

    with http.server.HTTPServer(("127.0.0.1", 0), Handler) as server:
        thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
        thread.start()
        yield f"http://127.0.0.1:{server.server_port}/metrics", texts
        server.shutdown()
        thread.join()


def test_a_run_is_the_difference(answers: tuple[str, list[str]]) -> None:
    url, texts = answers
    texts += [TEXT.format(**BEFORE), TEXT.format(**AFTER)]
    run = between(count(url), count(url))
    assert run is not None
    (only,) = total([run, None], "alexnet_int8")  # two questions whether alexnet_fp32 lives are not the load's
    assert (only.requests, only.executions) == (100, 40)
    assert only.per_request() == pytest.approx((0.01, 0.02))
    assert only.batches == {"1": 10, "4": 30}
    (both,) = total([run, run], "alexnet_int8")
    assert both.batches == {"1": 20, "4": 60}
    assert both.per_request() == pytest.approx((0.01, 0.02))
    assert total([run], "alexnet") == []


def test_a_server_that_began_anew_tells_nothing(answers: tuple[str, list[str]]) -> None:
    url, texts = answers
    texts += [TEXT.format(**AFTER), TEXT.format(**BEFORE)]
    assert between(count(url), count(url)) is None


@pytest.mark.parametrize("url", ["http://127.0.0.1:9/metrics", "no address"])
def test_a_wrong_address_is_said(url: str) -> None:
    with pytest.raises(LoadTestError, match="no metrics at "):
        count(url)


def test_what_is_no_metrics_is_said(answers: tuple[str, list[str]]) -> None:
    url, texts = answers
    texts.append("<html>not metrics</html>")
    with pytest.raises(LoadTestError, match="no metrics at "):
        count(url)
