"""The roofline's arithmetic, against data sheets and against the network's published size."""

import pytest

from alexnet_client.contract import PRECISIONS
from deploy.loadtest import gpu
from deploy.loadtest.roofline import OPERATIONS, Roof, macs
from export.engines.gpu import UnknownGpu
from training.model import AlexNet


@pytest.mark.parametrize(
    ("capability", "multiprocessors", "clock", "memory_clock", "bus", "gigabytes", "teraflops"),
    [
        ("sm75", 40, 1.59e9, 5.001e9, 256, 320, 65),  # T4's data sheet
        ("sm80", 108, 1.41e9, 1.215e9, 5120, 1555, 312),  # A100 40GB's
        ("sm86", 72, 1.695e9, 6.251e9, 384, 600, 125),  # A10's
        ("sm89", 58, 2.04e9, 6.251e9, 192, 300, 121),  # L4's, without sparsity
        ("sm90", 132, 1.83e9, 3.201e9, 6144, 4917, 989),  # H200's, without sparsity
    ],
)
def test_what_the_driver_says_is_what_the_data_sheet_says(
    capability: str, multiprocessors: int, clock: float, memory_clock: float, bus: int, gigabytes: int, teraflops: int
) -> None:
    roof = Roof.of(capability, multiprocessors, clock, memory_clock, bus)
    assert roof.bandwidth == pytest.approx(gigabytes * 1e9, rel=0.01)
    assert roof.operations["fp16"] == pytest.approx(teraflops * 1e12, rel=0.01)


@pytest.mark.parametrize("capability", OPERATIONS)
def test_every_published_precision_has_a_roof(capability: str) -> None:
    roof = Roof.of(capability, 1, 1e9, 1e9, 64)
    assert set(roof.operations) == set(PRECISIONS)
    assert roof.operations["fp32"] < roof.operations["fp16"] < roof.operations["int8"]


def test_one_image_waits_for_weights_and_a_full_batch_for_arithmetic() -> None:
    l4 = Roof(bandwidth=300e9, operations={"fp16": 121e12, "int8": 242e12})
    assert l4.seconds(122_000_000, 714_000_000, 1, "fp16") == pytest.approx(122 / 300e3)
    assert l4.seconds(122_000_000, 714_000_000, 128, "fp16") == pytest.approx(2 * 0.714 * 128 / 121e3)
    assert l4.seconds(61_000_000, 714_000_000, 128, "int8") == pytest.approx(2 * 0.714 * 128 / 242e3)


def test_an_unknown_gpu_is_refused() -> None:
    with pytest.raises(UnknownGpu, match="got compute capability sm35"):
        Roof.of("sm35", 1, 1, 1, 1)


@pytest.mark.parametrize(("variant", "millions"), [("owt", 714), ("paper", 724)])
def test_multiplications_are_those_that_are_published(variant: str, millions: int) -> None:
    """owt: torchvision's own table says 0.71 G; paper: 724 M is the figure that surveys quote, groups counted."""
    assert macs(AlexNet(variant, 1000)) / 1e6 == pytest.approx(millions, rel=0.005)


def test_without_a_gpu_it_says_so(capsys: pytest.CaptureFixture[str]) -> None:
    assert gpu.main([]) == 1
    assert "this machine has no GPU" in capsys.readouterr().err
