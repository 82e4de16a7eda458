"""What replicas are added for, by a real Prometheus on a real server, held against a client's own clock.

The networks sleep: how long a batch takes is known, so what else a call takes is its wait.
"""

from __future__ import annotations

from pathlib import Path

import numpy as np

from alexnet_client.contract import IMAGE, MAX_BATCH, PRECISION_MODELS
from deploy.loadtest.arrivals import arrivals, steady
from deploy.loadtest.open_loop import OK, offer
from deploy.loadtest.sleeping import Sleep, sleeping_server
from deploy.loadtest.workload import workload
from deploy.serve.ports import free_ports
from deploy.sizing.service import Service
from deploy.sizing.simulation import replay
from tests.charts import CHART, of_kind, render
from tests.observing import Prometheus
from tests.waiting import PATIENCE, wait_until

LOADED, *IDLE = MODELS = PRECISION_MODELS[:3]
#: Long, so that what the machine adds is small beside it; whatever is in the batch.
SLEEP = Sleep(batch=0.25, image=0.0)
#: As NVIDIA's own chart has it (triton-inference-server/server, deploy/k8s-onprem/values.yaml), in seconds.
NVIDIA = "avg(delta(nv_inference_queue_duration_us[30s]) / (1 + delta(nv_inference_request_success[30s]))) / 1e6"
#: A quarter, as the client that measures shares its cores with whatever runs beside it; NVIDIA's rule is off by most.
CLOSE = 0.25
SIGNAL = "alexnet:pressure_seconds:mean1m"


def test_the_signal_is_the_wait_that_a_client_measures(tmp_path: Path) -> None:
    """Three models, load on one; then more than the door lets in."""
    ports = free_ports()
    load = workload(LOADED, [np.zeros(IMAGE.shape, np.uint8)])
    metrics = [f"{ports.host}:{ports.metrics}"]
    prometheus = Prometheus(tmp_path / "prometheus", {"alexnet": metrics, "alexnet-door": metrics}, every="250ms")
    answered = f'nv_inference_request_success{{model="{LOADED}"}}'

    def asked(expression: str) -> float:
        (sample,) = prometheus.ask(expression)
        return float(sample["value"][1])

    def evaluated(calls: float) -> None:
        """The rules have seen so many calls answered."""
        wait_until(lambda: asked(answered) >= calls, f"{calls} answers")
        seen = asked("vector(time())")
        wait_until(lambda: asked(f"timestamp({SIGNAL})") > seen, "the rules")

    with sleeping_server(tmp_path, MODELS, SLEEP, ports) as url:
        alone = offer(url, load, np.arange(3) * 1.2 * SLEEP.batch, PATIENCE)
        offer(url, load, np.zeros(20), PATIENCE)  # rate() treats counters that begin near zero unlike others
        with prometheus.running():
            wait_until(lambda: bool(prometheus.ask(f"timestamp({SIGNAL})")), "the first sample")
            before = asked(answered)
            busy = offer(url, load, arrivals(steady(50, 4)), PATIENCE)
            assert set(busy.statuses) == {OK}
            evaluated(before + len(busy.due))
            wait = (busy.latency - busy.lag).mean() - (alone.latency - alone.lag).min()
            assert wait > SLEEP.batch / 2, "no load, no queue"
            signal, nvidia = asked(SIGNAL), asked(NVIDIA)
            said = f"a client waits {wait:.3f} s, the signal says {signal:.3f} s, NVIDIA's rule {nvidia:.3f} s"
            assert abs(signal - wait) < CLOSE * wait, said
            assert nvidia < wait / len(MODELS), said

            took = SLEEP.batch + wait
            sized = replay(Service(SLEEP.batch, SLEEP.image, MAX_BATCH), busy.due).mean()
            assert abs(sized - took) < CLOSE * took, "what deploy.sizing takes a replica for"

            flood = offer(url, load, arrivals(steady(400, 1)), PATIENCE)
            assert flood.statuses["OVERLOADED"] > 0
            evaluated(before + len(busy.due) + flood.statuses[OK])
            assert asked(SIGNAL) > asked("alexnet:wait_seconds:mean1m")
            assert asked(SIGNAL) > signal

            triggers = of_kind(render(CHART / "ci" / "autoscaling-values.yaml"), "ScaledObject")["spec"]["triggers"]
            for trigger in triggers:
                assert asked(trigger["metadata"]["query"]) > 0
