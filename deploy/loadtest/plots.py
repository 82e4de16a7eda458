"""The plots of a load test's report, each an SVG to be put into a page: no scripts, nothing to be fetched."""

from __future__ import annotations

import io
import math
from collections.abc import Iterable, Sequence
from statistics import median
from typing import Any

import matplotlib as mpl
import numpy as np
from hdrh.histogram import HdrHistogram
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import FixedLocator, FuncFormatter, NullLocator
from numpy.typing import NDArray

from deploy.loadtest.latency import merged, values
from deploy.loadtest.load_report import ModelReport, RunReport
from deploy.loadtest.server_time import ModelTime, total

INK, GREY, PALE = "#1f2933", "#7b8794", "#e4e7eb"
#: p50, p90, p99: the darker, the rarer.
BLUES = {"p50": "#8fbfe0", "p90": "#3f8cc4", "p99": "#0b4f8a"}
#: What missed the target, or is too much.
RED = "#c2410c"
GREEN = "#2f855a"
#: In the order in which a request meets them: before Triton, queue and compute of the decoder, of the network.
SPLIT = ("#cbd2d9", "#f6c177", "#3f8cc4", "#e0892b", "#0b4f8a")
STYLE: Any = {
    "svg.fonttype": "none",  # text stays text; the page chooses the font
    "font.size": 10,
    "axes.edgecolor": GREY,
    "axes.labelcolor": INK,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.grid": True,
    "axes.axisbelow": True,
    "grid.color": PALE,
    "grid.linewidth": 0.8,
    "text.color": INK,
    "xtick.color": INK,
    "ytick.color": INK,
    "xtick.major.size": 0,
    "ytick.major.size": 0,
    "ytick.minor.size": 0,
    "legend.frameon": False,
    "lines.linewidth": 1.8,
}
_styled = mpl.rc_context(STYLE)
#: Inches.
SIZE, FLAT, WIDE, HIGH = (6.4, 3.7), (6.4, 2.3), (13.2, 3.7), (6.4, 6.6)
#: Rows of the heat map for each factor of ten.
ROWS = 20


@_styled
def curve(model: ModelReport, like: Sequence[ModelReport] = ()) -> str:
    """Percentiles over the rate that came, of every run.

    Args:
        like: reports whose values are to fit on the axes as well.
    """
    figure, axes = _figure()
    every = [*model.runs, *([model.beyond] if model.beyond else [])]
    told = [run for run in every if not run.verdict.invalid]
    rates = sorted({run.rate for run in told})
    for name, colour in BLUES.items():
        axes.plot(*_medians(told, rates, name), color=colour, linewidth=1.4, alpha=0.7, label=name)
        for runs, marker, face in (
            ([run for run in told if run.verdict.kept], "o", colour),
            ([run for run in told if not run.verdict.kept], "X", colour),
            ([run for run in every if run.verdict.invalid], "o", "white"),
        ):
            axes.scatter(*_points(runs, name), s=34, marker=marker, facecolor=face, edgecolor=colour, zorder=3)
    _target(axes, model)
    if model.rate:
        axes.axvline(model.rate, color=GREEN, linewidth=1.2, linestyle=(0, (4, 3)), zorder=1)
        axes.annotate(
            f"{model.rate:.0f}/s", (model.rate, 0.02), (4, 0), "axes fraction", textcoords="offset points", color=GREEN
        ).xycoords = axes.get_xaxis_transform()
    shown = [run for each in (model, *like) for run in (*each.runs, *([each.beyond] if each.beyond else []))]
    axes.set_xlim(0, 1.12 * max((run.offered for run in shown), default=1))
    heights = [1000 * value for run in shown for name in BLUES if (value := _percentile(run, name))]
    heights += [1000 * each.p99_target_seconds for each in (model, *like)]
    axes.set_yscale("log")
    axes.set_ylim(0.7 * min(heights), 1.6 * max(heights))
    _milliseconds(axes)
    axes.set(xlabel="requests a second that came", ylabel="latency, ms")
    for marker, face, text in (("o", INK, "kept"), ("X", INK, "missed"), ("o", "white", "invalid")):
        axes.scatter([], [], s=34, marker=marker, facecolor=face, edgecolor=INK, label=text)
    axes.legend(loc="lower left", bbox_to_anchor=(0, 1), ncols=6, handletextpad=0.3, columnspacing=1.2, borderaxespad=0)
    return _svg(figure, "curve", model)


@_styled
def percentiles(model: ModelReport, like: Sequence[ModelReport] = ()) -> str:
    """Latency over the percentile, whose axis gives each further nine the same room."""
    figure, axes = _figure()
    confirmed = [run.latency.whole() for run in model.confirmed]
    for each in confirmed:
        axes.plot(*_by_nines(each), color=BLUES["p90"], linewidth=0.9, alpha=0.7)
    if confirmed:
        x, y = _by_nines(merged(confirmed))
        axes.plot(x, y, color=BLUES["p99"], linewidth=2.2, label=f"at {model.rate:.0f}/s, and each of its runs")
    if model.beyond and model.beyond.latency.whole().get_total_count():
        x, y = _by_nines(model.beyond.latency.whole())
        axes.plot(x, y, color=RED, label=f"at {model.beyond.rate:.0f}/s")
    _target(axes, model)
    shown = [run for each in (model, *like) for run in (*each.confirmed, *([each.beyond] if each.beyond else []))]
    most = max((sum(run.statuses.values()) for run in shown), default=100) * 3
    ticks = [10.0**power for power in range(max(3, math.ceil(math.log10(most))))]
    axes.set_xscale("log")
    axes.set_xlim(1, most)
    axes.xaxis.set_major_locator(FixedLocator(ticks))
    axes.xaxis.set_minor_locator(NullLocator())
    axes.xaxis.set_major_formatter(FuncFormatter(lambda value, _: f"{100 - 100 / value:.10g} %"))
    axes.axvline(100, color=GREY, linewidth=0.8)
    axes.set_yscale("log")
    whole = [seconds for run in shown if len(seconds := values(run.latency.whole())[0])]
    if whole:
        axes.set_ylim(800 * min(seconds[0] for seconds in whole), 1300 * max(seconds[-1] for seconds in whole))
    _milliseconds(axes)
    axes.set(xlabel="percentile", ylabel="latency, ms")
    axes.legend(loc="lower left", bbox_to_anchor=(0, 1), ncols=2, borderaxespad=0)
    return _svg(figure, "percentiles", model)


@_styled
def time_line(model: ModelReport, *, beside: bool = True) -> str:
    """Latency by when a request was due, of the rate that was found and of too much: each cell is so many requests.

    Args:
        beside: each other, or else one above the other.
    """
    figure, axes = _figure(WIDE, columns=2) if beside else _figure(HIGH, rows=2)
    runs = ([(model.confirmed[-1], "kept")] if model.confirmed else []) + (
        [(model.beyond, "too much")] if model.beyond else []
    )
    every = np.concatenate([np.array([0.01]), *(seconds for run, _ in runs for seconds, _ in run.latency.parts())])
    low, high = np.log10(every.min() * 0.8), np.log10(max(every.max(), 2 * model.p99_target_seconds) * 1.2)
    edges = np.logspace(low, high, max(2, math.ceil(ROWS * (high - low))) + 1)
    for place, (run, _) in zip(axes, runs, strict=False):
        cells = np.array([np.histogram(seconds, edges, weights=counts)[0] for seconds, counts in run.latency.parts()])
        times = run.latency.slice_seconds * np.arange(len(cells) + 1)
        shades = np.where(cells.T > 0, cells.T, np.nan)
        place.pcolormesh(times, 1000 * edges, shades, cmap="Blues", vmin=-0.25 * cells.max(), rasterized=True)
        medians = [
            (at, 1000 * _median(part)) for at, part in zip(times, run.latency.parts(), strict=False) if len(part[0])
        ]
        axes_x = np.array([at for at, _ in medians]) + run.latency.slice_seconds / 2
        place.plot(axes_x, [value for _, value in medians], color=INK, linewidth=1.4, label="median")
        lost = np.array(run.latency.unanswered)
        if lost.any():
            strip = place.inset_axes((0, 0, 1, 0.12))
            strip.bar(times[:-1], lost, run.latency.slice_seconds, align="edge", color=RED)
            strip.set(xlim=(times[0], times[-1]), ylim=(0, lost.max()))
            strip.axis("off")
            place.plot([], [], color=RED, linewidth=5, label=f"{lost.sum()} not answered")
        _target(place, model)
        if model.closed:
            place.axhline(1000 * model.closed.p99_seconds, color=GREEN, linewidth=1.4, linestyle=(0, (1, 1.5)))
            place.annotate(
                "p99 that a closed loop tells",
                (1, 1000 * model.closed.p99_seconds),
                (-2, -3),
                place.get_yaxis_transform(),
                textcoords="offset points",
                color=GREEN,
                ha="right",
                va="top",
            )
        place.set_title(f"{run.rate:.0f} requests a second", loc="left", fontsize=11, weight="bold")
        place.set(xlabel="seconds from the start, when a request was due", xlim=(0, times[-1]), yscale="log")
        if not beside or place is axes[0]:
            place.set_ylabel("latency, ms")
        place.set_ylim(1000 * edges[0], 1000 * edges[-1])
        place.legend(loc="lower right", bbox_to_anchor=(1, 1), ncols=2, borderaxespad=0.1)
        _milliseconds(place)
    for unused in axes[len(runs) :]:
        unused.axis("off")
    return _svg(figure, "time line", model)


@_styled
def split(model: ModelReport) -> str:
    """Mean latency at the rate that was found, by where it went."""
    figure, axes = _figure(FLAT)
    inside = _steps(model)
    parts = [part for each in inside for part in _queue_and_compute(each)]
    whole = merged(run.latency.whole() for run in model.confirmed).get_mean_value() / 1e6 if model.confirmed else 0.0
    parts.insert(0, ("door, transport, client", max(0.0, whole - sum(seconds for _, seconds in parts))))
    colours = SPLIT if len(parts) == len(SPLIT) else (SPLIT[0], *SPLIT[3:])
    left = 0.0
    for (name, seconds), colour in zip(parts, colours, strict=False):
        axes.barh(0, 1000 * seconds, left=left, color=colour, height=0.55, label=f"{name}  {1000 * seconds:.1f} ms")
        left += 1000 * seconds
    axes.set(xlabel="mean milliseconds of a request", yticks=[], ylim=(-0.4, 1.6))
    axes.grid(visible=False, axis="y")
    axes.spines["left"].set_visible(False)
    axes.legend(loc="upper left", ncols=2, fontsize=9, columnspacing=1.2, handlelength=1, borderaxespad=0)
    return _svg(figure, "split", model)


@_styled
def batches(model: ModelReport) -> str:
    """Images of one run of the network, at the rate that was found: in which batches they were computed."""
    figure, axes = _figure(FLAT)
    found = [each for each in _steps(model) if each.batches][-1:]
    if found:
        edges = sorted(found[0].batches, key=float)
        every = sum(found[0].batches.values())
        shares = [100 * found[0].batches[edge] / every for edge in edges]
        bars = axes.bar(range(len(edges)), shares, width=0.7, color=BLUES["p90"])
        axes.bar_label(bars, [f"{share:.0f} %" for share in shares], padding=2, fontsize=9)
        axes.set_xticks(range(len(edges)), [_range(float(edge)) for edge in edges])
        axes.set_ylim(0, 1.18 * max(shares))
    axes.set(xlabel="images in one run of the network", ylabel="share of runs")
    axes.yaxis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:.0f} %"))
    axes.grid(visible=False, axis="x")
    return _svg(figure, "batches", model)


def _steps(model: ModelReport) -> list[ModelTime]:
    """What computes: an ensemble only passes on."""
    found = total((run.server for run in model.confirmed), model.model)
    return [each for each in found if each.model != model.model] or found


def _queue_and_compute(each: ModelTime) -> Iterable[tuple[str, float]]:
    queue, computing = each.per_request()
    return (f"{each.model}: queue", queue), (f"{each.model}: compute", computing)


def _range(edge: float) -> str:
    """Buckets are powers of two."""
    if math.isinf(edge):
        return "more"
    low = int(edge) // 2 + 1
    return str(low) if low == edge else f"{low} to {edge:.0f}"


def _percentile(run: RunReport, name: str) -> float | None:
    value: float | None = getattr(run, f"{name}_seconds")
    return value


def _points(runs: Sequence[RunReport], name: str) -> tuple[list[float], list[float]]:
    """Rates that came, and milliseconds."""
    return _columns([(run.offered, 1000 * value) for run in runs if (value := _percentile(run, name))])


def _medians(runs: Sequence[RunReport], rates: Sequence[float], name: str) -> tuple[list[float], list[float]]:
    """The same of each rate that was wanted."""
    points = [_points([run for run in runs if run.rate == rate], name) for rate in rates]
    return _columns([(median(x), median(y)) for x, y in points if x])


def _columns(points: Sequence[tuple[float, float]]) -> tuple[list[float], list[float]]:
    return [x for x, _ in points], [y for _, y in points]


def _median(part: tuple[NDArray[np.float64], NDArray[np.int64]]) -> float:
    seconds, counts = part
    return float(seconds[np.searchsorted(np.cumsum(counts), counts.sum() / 2)])


def _by_nines(histogram: HdrHistogram) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """1/(1-p) and milliseconds, at every distinct value; p is the share that was quicker."""
    seconds, counts = values(histogram)
    quicker = np.cumsum(counts) - counts
    return counts.sum() / (counts.sum() - quicker), 1000 * seconds


def _target(axes: Axes, model: ModelReport) -> None:
    target = 1000 * model.p99_target_seconds
    axes.axhline(target, color=RED, linewidth=1.2, linestyle=(0, (4, 3)), zorder=1)
    axes.annotate(
        f"target for p99: {target:.0f} ms",
        (0, target),
        (4, 3),
        axes.get_yaxis_transform(),
        textcoords="offset points",
        color=RED,
    )


def _milliseconds(axes: Axes) -> None:
    axes.yaxis.set_major_locator(FixedLocator([base * 10.0**power for power in range(-2, 7) for base in (1, 2, 5)]))
    axes.yaxis.set_minor_locator(NullLocator())
    axes.yaxis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:g}"))


def _figure(size: tuple[float, float] = SIZE, rows: int = 1, columns: int = 1) -> tuple[Figure, Any]:
    """Axes in the same place for the same size, so that plots under and beside each other are in line."""
    figure = Figure(size)
    width, height = size
    figure.subplots_adjust(left=0.62 / width, right=1 - 0.12 / width, bottom=0.5 / height, top=1 - 0.3 / height)
    figure.subplots_adjust(wspace=0.05, hspace=0.32)
    return figure, figure.subplots(rows, columns, sharey=True)


def _svg(figure: Figure, name: str, model: ModelReport) -> str:
    """The element alone. Identifiers hang on the plot's name, so that the plots of a page do not share them."""
    buffer = io.StringIO()
    with mpl.rc_context({"svg.hashsalt": f"{name} {model.model}"}):
        figure.savefig(buffer, format="svg", dpi=200, metadata={"Date": None, "Creator": None})
    text = buffer.getvalue()
    return text[text.index("<svg") :]
