"""What the bench prints, of figures made by hand."""

from deploy.loadtest import report
from deploy.loadtest.bench import ASLEEP, BATCHES, CALLERS, FP32, INT8, SATURATION, THREADS, Figures
from deploy.loadtest.measurement import (
    EACH_ITS_CLIENT,
    FILES,
    IN_PROCESS,
    ONE_CLIENT,
    SLEEPING,
    TENSORS,
    Measurement,
)
from deploy.loadtest.processor import Processor

CHIP = Processor("Some CPU", 2, vnni=False, int8_macs=200e9, fp32_macs=100e9)


def figures(asleep_longest: float = 60) -> Figures:
    """In process 200 image/s in INT8 and 100 in FP32, decoding 200; served 180, files 90."""
    latency = (50.0, 60.0)
    points = [
        Measurement(IN_PROCESS, model, pace, *latency, longest_ms=60, batch=batch)
        for model, pace in ((INT8, 200.0), (FP32, 100.0))
        for batch in BATCHES
    ]
    points += [Measurement(TENSORS, INT8, 180, *latency, callers=callers, idle=0.01) for callers in CALLERS]
    points += [Measurement(TENSORS, FP32, 95, *latency, callers=SATURATION, idle=0.01)]
    points += [Measurement(FILES, "alexnet", 90, *latency, callers=callers, idle=0.01) for callers in CALLERS]
    points += [
        Measurement(SLEEPING, INT8, 95, *latency, longest_ms=asleep_longest, callers=callers, idle=0.9)
        for callers in ASLEEP
    ]
    points += [
        Measurement(what, INT8, pace, *latency, longest_ms=60, callers=THREADS, idle=0.0)
        for what, pace in ((ONE_CLIENT, 75), (EACH_ITS_CLIENT, 150))
    ]
    return Figures(CHIP, decoding=[200.0], rounds=[points], shares=[(16.0, 0.9, 190.0)])


def ratio(text: str, start: str) -> str:
    (line,) = [line for line in text.splitlines() if line.strip().startswith(start)]
    return line.split()[-1]


def test_ratios_are_of_what_the_same_machine_allows() -> None:
    text = report.as_text(figures())
    assert ratio(text, "INT8 tensors, 8 callers") == "0.90"
    assert ratio(text, "JPEG files, 32 callers") == "0.90"  # of 100: half the time decodes, half runs the network
    assert ratio(text, "network asleep, 8 callers") == "0.95"
    assert ratio(text, "Python, 64 threads") == "0.50"
    assert ratio(text, "INT8 / FP32 in process at batch 32") == "2.00"
    assert ratio(text, "INT8 / FP32 that this processor's arithmetic allows") == "2.00"
    assert str(CHIP) in text


def test_a_stall_is_named_with_its_point() -> None:
    assert "no call stood still" in report.as_text(figures())
    text = report.as_text(figures(asleep_longest=513))
    assert "STALL: served, asleep, alexnet_int8, 8 callers: a call took 513 ms where most take 50, with 90 %" in text


def test_every_figure_is_in_the_report() -> None:
    got = report.as_json(figures(asleep_longest=513))
    assert got["processor"]["name"] == "Some CPU"
    assert len(got["measurements"]) == len(figures().measurements)
    assert [row["stalled"] for row in got["measurements"]].count(True) == len(ASLEEP)
