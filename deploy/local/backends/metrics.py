"""Metrics of both Python-based backends, on Triton's own /metrics; the histograms add up across pods."""

import triton_python_backend_utils as pb_utils

#: Seconds of one run.
SECONDS = (0.001, 0.002, 0.005, 0.01, 0.02, 0.05, 0.1, 0.2, 0.5, 1.0, 2.0)
#: Images of one run.
IMAGES = (1, 2, 4, 8, 16, 32, 64, 128)


class Metrics:
    """Labels: model, version."""

    def __init__(self, model, version):
        labels = {"model": model, "version": version}
        family = pb_utils.MetricFamily
        # A metric dies with its family, so both are kept.
        self._families = [
            family(
                "alexnet_inference_seconds", "One run of the network, without queue and transport", family.HISTOGRAM
            ),
            family("alexnet_batch_images", "Images in one run of the network", family.HISTOGRAM),
            family("alexnet_images_total", "Images answered", family.COUNTER),
        ]
        self._seconds = self._families[0].Metric(labels=labels, buckets=list(SECONDS))
        self._batch = self._families[1].Metric(labels=labels, buckets=[float(edge) for edge in IMAGES])
        self._images = self._families[2].Metric(labels=labels)

    def observe(self, images, seconds):
        """Count one run of so many images."""
        self._seconds.observe(seconds)
        self._batch.observe(images)
        self._images.increment(images)


class EngineMetrics:
    """What runs, as gauges. Labels: model, version; the first has more."""

    def __init__(self, model, version, provider, plan, device_memory):
        labels = {"model": model, "version": version}
        family = pb_utils.MetricFamily
        facts = {"provider": provider.name, "tensorrt": provider.version, "plan": plan.name}
        self._families, self._gauges = [], []
        for name, text, more, value in (
            ("alexnet_engine_info", "1, with what runs in its labels", facts, 1),
            ("alexnet_engine_plan_bytes", "Size of the plan", {}, plan.stat().st_size),
            ("alexnet_engine_device_memory_bytes", "Device memory for activations and scratch", {}, device_memory),
        ):
            self._families.append(family(name, text, family.GAUGE))
            self._gauges.append(self._families[-1].Metric(labels={**labels, **more}))
            self._gauges[-1].set(value)
