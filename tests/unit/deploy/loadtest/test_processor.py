"""What the bench says of the machine that it runs on."""

import numpy as np
import pytest

from deploy.loadtest.idle import Idle
from deploy.loadtest.processor import Processor, measure_processor


def test_this_processor_has_a_name_and_speeds_of_its_own() -> None:
    got = measure_processor(seconds=0.05)
    assert got.name
    assert got.cores >= 1
    # From a slow core to a large server: a unit that is wrong by a thousand falls out.
    assert 1e9 < got.fp32_macs < 1e14
    assert 1e9 < got.int8_macs < 1e15


def test_it_says_so_in_one_line() -> None:
    line = str(Processor("Some CPU", 2, vnni=True, int8_macs=450e9, fp32_macs=114e9))
    assert line == "Some CPU, 2 cores, VNNI: yes, measured 450 GMAC/s in 8 bits, 114 in FP32"


def test_idle_is_the_share_of_the_window_that_the_kernel_counts_as_idle(monkeypatch: pytest.MonkeyPatch) -> None:
    class Times(tuple[float, ...]):
        _fields = ("user", "system", "idle", "guest")

    readings = iter((Times((10, 10, 100, 1)), Times((12, 11, 101, 2))))
    monkeypatch.setattr("psutil.cpu_times", lambda: next(readings))
    with Idle() as idle:
        pass
    assert idle.share == pytest.approx(1 / 4)
    assert np.isfinite(idle.share)
