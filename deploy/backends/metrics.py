"""The contract's metrics as Triton's Python backend makes them, on Triton's own /metrics."""

import triton_python_backend_utils as pb_utils

from alexnet_client import contract


class Family:
    """One metric of the contract, with a child for each set of labels."""

    def __init__(self, metric):
        self._metric = metric
        # A child dies with its family, so both are kept.
        self._family = pb_utils.MetricFamily(
            metric.name, metric.text, getattr(pb_utils.MetricFamily, metric.kind.upper())
        )

    def labelled(self, **labels):
        """The child with these labels."""
        assert set(labels) == set(self._metric.labels), self._metric.name
        more = {"buckets": [float(edge) for edge in self._metric.buckets]} if self._metric.buckets else {}
        return self._family.Metric(labels=labels, **more)


class Metrics:
    """What every run of a network is counted in."""

    def __init__(self, model, version):
        metrics = (contract.INFERENCE_SECONDS, contract.BATCH_IMAGES, contract.IMAGES_TOTAL)
        self._families = [Family(metric) for metric in metrics]
        self._seconds, self._batch, self._images = (
            family.labelled(model=model, version=version) for family in self._families
        )

    def observe(self, images, seconds):
        """Count one run of so many images."""
        self._seconds.observe(seconds)
        self._batch.observe(images)
        self._images.increment(images)


class EngineMetrics:
    """What runs, as gauges."""

    def __init__(self, model, version, provider, plan, device_memory):
        facts = {"provider": provider.name, "tensorrt": provider.version, "plan": plan.name}
        self._families, self._gauges = [], []
        for metric, more, value in (
            (contract.ENGINE_INFO, facts, 1),
            (contract.ENGINE_PLAN_BYTES, {}, plan.stat().st_size),
            (contract.ENGINE_MEMORY_BYTES, {}, device_memory),
        ):
            self._families.append(Family(metric))
            self._gauges.append(self._families[-1].labelled(model=model, version=version, **more))
            self._gauges[-1].set(value)
