"""The contract's metrics as Triton's Python backend makes them, on Triton's own /metrics."""

import time
from collections import defaultdict

import numpy as np
import triton_python_backend_utils as pb_utils

from alexnet_client import contract

#: Seconds.
TELL = 1.0


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
        metrics = (
            contract.INFERENCE_SECONDS,
            contract.BATCH_IMAGES,
            contract.IMAGES_TOTAL,
            contract.TURN_SECONDS_TOTAL,
        )
        self._families = [Family(metric) for metric in metrics]
        self._seconds, self._batch, self._images, self._turn = (
            family.labelled(model=model, version=version) for family in self._families
        )

    def observe(self, images, seconds, waited):
        """Count one run of so many images; ``waited`` is the seconds before it, added up over its requests."""
        self._seconds.observe(seconds)
        self._batch.observe(images)
        self._images.increment(images)
        self._turn.increment(waited)


class Traffic:
    """What traffic is answered, to be held against what was answered in the proof; questions are left out.

    Triton is told once a second, as each number costs a message to it. The supervisor asks more often than traffic may,
    so nothing waits for long.
    """

    def __init__(self, model, version, config, questions):
        self._questions = questions
        self._warmups = len(config.get("model_warmup", ()))
        self._labels = {"model": model, "version": version}
        metrics = (contract.TOP1_TOTAL, contract.EMBEDDED_TOTAL, contract.EMBEDDING_NORM_TOTAL)
        self._families = [Family(metric) for metric in metrics]
        self._classes = {}
        self._embedded, self._norm = (family.labelled(**self._labels) for family in self._families[1:])
        self._untold, self._told = defaultdict(float), 0.0

    def count(self, images, outputs):
        """Count a batch's answers, of the outputs that were computed; Triton's warm-up comes first and is none."""
        if self._warmups:
            self._warmups -= 1
            return
        meant = ~self._questions.among(images)
        if meant.any() and contract.PROBABILITIES.name in outputs:
            probabilities = outputs[contract.PROBABILITIES.name]
            self._start(probabilities.shape[1])
            for index in probabilities[meant].argmax(1).tolist():
                self._untold[self._classes[contract.class_group(index, probabilities.shape[1])]] += 1
        if meant.any() and contract.EMBEDDING.name in outputs:
            norms = np.linalg.norm(outputs[contract.EMBEDDING.name][meant], axis=1)
            self._untold[self._embedded] += len(norms)
            self._untold[self._norm] += float(norms.sum())
        if self._untold and time.monotonic() - self._told > TELL:
            self._told = time.monotonic()
            for metric, more in self._untold.items():
                metric.increment(more)
            self._untold.clear()

    def _start(self, classes):
        """Every class is there from the first answer on: one that is never seen is a finding."""
        if not self._classes:
            top1 = self._families[0]
            groups = sorted({contract.class_group(index, classes) for index in range(classes)})
            self._classes = {first: top1.labelled(**self._labels, **{"class": str(first)}) for first in groups}


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
