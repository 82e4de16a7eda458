"""One replica, as ``python -m deploy.loadtest load`` measured it."""

from __future__ import annotations

import json
import math
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from alexnet_client.contract import MAX_BATCH
from deploy.loadtest.load_report import FORMAT
from deploy.sizing.batch_queue import highest_rate
from deploy.sizing.service import Service, fitted
from deploy.sizing.sizing_error import SizingError


@dataclass(frozen=True)
class Replica:
    """What one does, and how that is known."""

    model: str
    service: Service
    #: Seconds that a request takes beside its batches: transport, the door, Triton's wait for company.
    overhead: float
    #: Measured: requests a second, and the 99th percentile in seconds that they kept.
    rate: float
    p99: float

    def rate_under(self, p99: float) -> float:
        """Requests a second that keep a 99th percentile: the theory's, and no more than was measured where it applies.

        Raises:
            SizingError: none does.
        """
        most = self.rate if p99 <= self.p99 else math.inf
        rate = highest_rate(self.service, p99 - self.overhead, most) if p99 > self.overhead else 0.0
        if rate <= 0:
            alone = self.overhead + float(self.service.seconds(1.0))
            raise SizingError(
                f"a 99th percentile of {1000 * p99:g} ms is out of reach: one request alone takes {1000 * alone:.1f} "
                "ms; want more, or a faster replica"
            )
        return rate


def read(report: Path, model: str | None = None, points: Mapping[int, float] | None = None) -> Replica:
    """Of a report.

    Args:
        model: None is the report's only one.
        points: seconds by batch size, measured. Without, the line goes through what one request alone takes and the
            images a second under too much load, which takes transport for service, and so errs towards more replicas.

    Raises:
        SizingError: it is no such report, or lacks the model or a figure; says which.
    """
    row = _row(report, model)
    try:
        alone, rate, p99 = (float(row[key]) for key in ("alone_seconds", "rate", "p99_target_seconds"))
        flooded = float(row["beyond"]["throughput"]) if row["beyond"] else 0.0
        batch = int(row["batch"])
    except (KeyError, TypeError, ValueError) as error:
        raise SizingError(f"{report} lacks {error} of {row.get('model')}: make it with deploy.loadtest load") from error
    if batch != 1:
        raise SizingError(f"{report} has requests of {batch} images: want one of requests of a single image")
    if rate <= 0 or flooded <= 0 or alone <= 0:
        raise SizingError(f"{report}: {row['model']} kept no rate: measure with a target (--p99) that it keeps")
    if points:
        service = fitted(points, MAX_BATCH)
    else:
        image = min(1 / flooded, alone)
        service = Service(alone - image, image, MAX_BATCH)
    overhead = max(alone - float(service.seconds(1.0)), 0.0)
    return Replica(str(row["model"]), service, overhead, rate, p99)


def _row(report: Path, model: str | None) -> dict[str, Any]:
    try:
        said = json.loads(report.read_text())
        rows = {str(row["model"]): row for row in said["models"]} if said["format"] == FORMAT else {}
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise SizingError(f"{report} is no report ({error}): make it with `python -m deploy.loadtest load`") from error
    if model is None and len(rows) == 1:
        (model,) = rows
    if model not in rows:
        raise SizingError(f"{report} has {', '.join(rows) or 'no models'}: want --model to be one of them, got {model}")
    return dict(rows[model])
