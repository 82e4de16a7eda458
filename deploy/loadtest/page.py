"""The report of a load test as a page that needs nothing else: text, tables and plots in one file, without scripts."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from jinja2 import Environment, StrictUndefined
from markupsafe import Markup

from alexnet_client.files import atomic_path
from deploy.loadtest import plots
from deploy.loadtest.load_report import LoadReport, ModelReport
from deploy.loadtest.server_time import total

_TEMPLATE = Path(__file__).with_name("page.html")


@dataclass(frozen=True)
class Plot:
    """A picture, and what it shows."""

    name: str
    caption: str
    svg: Markup
    wide: bool = False


def write_page(
    reports: Sequence[LoadReport], names: Sequence[str], path: Path, verdict: Sequence[str] = (), table: str = ""
) -> None:
    """Write a page of one report, or of several side by side.

    Args:
        names: of the reports, where there are several.
        verdict: sentences that come first.
        table: that says more, as text.

    Raises:
        alexnet_client.errors.FileError: it cannot be written.
    """
    environment = Environment(autoescape=True, undefined=StrictUndefined, trim_blocks=True, lstrip_blocks=True)
    environment.filters["ms"] = _milliseconds
    models = list(dict.fromkeys(model.model for report in reports for model in report.models))
    shown = {
        name: [next((each for each in report.models if each.model == name), None) for report in reports]
        for name in models
    }
    text = environment.from_string(_TEMPLATE.read_text()).render(
        reports=reports,
        names=names,
        verdict=verdict,
        table=table,
        models=shown,
        sentence=sentence,
        plots_of=_plots,
        total=total,
        configuration=lambda config: json.dumps(config, indent=1),
    )
    with atomic_path(path) as partial:
        partial.write_text(text)


def sentence(model: ModelReport) -> str:
    """The verdict in plain words."""
    target = f"{1000 * model.p99_target_seconds:.0f} ms"
    if model.runs and all(run.verdict.invalid for run in model.runs):
        return f"Nothing can be said of {model.model}: {model.runs[-1].verdict}."
    if not model.ended:
        return f"The search for {model.model} was stopped before it came to its end."
    if not model.rate:
        return f"{model.model} keeps a 99th percentile of {target} at no rate that was tried."
    runs = model.confirmed
    slowest = max(run.p99_seconds or 0.0 for run in runs)
    confirmed = f"{len(runs)} runs of {len(runs)} VALID, the slowest" if len(runs) > 1 else "one run, VALID,"
    return (
        f"{model.model} answers {model.rate:.0f} requests a second and keeps its 99th percentile under {target}: "
        f"{confirmed} with {1000 * slowest:.0f} ms."
    )


def _plots(model: ModelReport, like: Sequence[ModelReport | None]) -> list[Plot]:
    others = [each for each in like if each]
    # Markup: the plots are ours, and what they write is escaped.
    pictures = [Plot("curve", "Latency over the rate, of every run", Markup(plots.curve(model, others)))]
    if model.confirmed or model.beyond:
        pictures += [
            Plot("percentiles", "Latency over the percentile", Markup(plots.percentiles(model, others))),
            Plot(
                "time",
                "Latency over time: what was found, and too much",
                Markup(plots.time_line(model, beside=not others)),
                wide=True,
            ),
        ]
    if any(run.server for run in model.confirmed):
        pictures += [
            Plot("split", "Where a request's time goes, by the server's metrics", Markup(plots.split(model))),
            Plot("batches", "Batches that were formed, by the server's metrics", Markup(plots.batches(model))),
        ]
    return pictures


def _milliseconds(seconds: float | None) -> str:
    return "–" if seconds is None else f"{1000 * seconds:.1f}" if seconds < 0.1 else f"{1000 * seconds:.0f}"
