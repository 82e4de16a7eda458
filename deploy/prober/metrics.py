"""The prober's metrics, as the contract names them."""

from __future__ import annotations

import time
from typing import Any

import prometheus_client
from prometheus_client import CollectorRegistry

from alexnet_client import contract
from alexnet_client.contract import Metric
from deploy.prober.expected import Expected

#: Outcomes beside the errors' names.
OK, WRONG = "ok", "wrong"


class Metrics:
    """Of one model that is asked."""

    def __init__(self, model: str, registry: CollectorRegistry) -> None:
        self._model = model
        self._families: dict[Metric, Any] = {
            metric: getattr(prometheus_client, metric.kind.title())(
                metric.name,
                metric.text,
                metric.labels,
                registry=registry,
                **({"buckets": metric.buckets} if metric.buckets else {}),
            )
            for metric in contract.PROBER_METRICS
        }
        for outcome in (OK, WRONG):  # a counter that is there before its first event shows that event as an increase
            self._families[contract.PROBES_TOTAL].labels(model, outcome)
        self._of(contract.PROBE_SUCCESS_TIMESTAMP).set(time.time())

    def expect(self, expected: Expected) -> None:
        """From now on a release answers, and its proof is the reference."""
        for metric in (contract.PROBE_RELEASE_INFO, contract.REFERENCE_CLASS_RATIO, contract.REFERENCE_NORM):
            self._families[metric].clear()
        network, population = expected.network, expected.population
        self._families[contract.PROBE_RELEASE_INFO].labels(
            self._model, network, expected.release, expected.manifest
        ).set(1)
        classes = len(population.top1)
        shares = population.top1 / population.top1.sum()
        for index, share in enumerate(shares.tolist()):
            group = contract.class_group(index, classes)
            self._families[contract.REFERENCE_CLASS_RATIO].labels(network, group).inc(share)
        for statistic, value in (("mean", population.norm), ("stddev", population.norm_deviation)):
            self._families[contract.REFERENCE_NORM].labels(network, statistic).set(value)

    def probed(self, outcome: str, seconds: float) -> None:
        """A probe ended."""
        self._families[contract.PROBES_TOTAL].labels(self._model, outcome).inc()
        if outcome in (OK, WRONG):
            self._of(contract.PROBE_SECONDS).observe(seconds)
        if outcome == OK:
            self._of(contract.PROBE_SUCCESS_TIMESTAMP).set(time.time())

    def compared(self, max_abs_dp: float, cosine: float) -> None:
        """The worst among the golden images' last answers."""
        self._of(contract.PROBE_MAX_ABS_DP).set(max_abs_dp)
        self._of(contract.PROBE_COSINE).set(cosine)

    def _of(self, metric: Metric) -> Any:
        return self._families[metric].labels(self._model)
