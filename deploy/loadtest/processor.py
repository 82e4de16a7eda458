"""The processor of a benchmark, and what it can do at most: figures of other machines say nothing here."""

from __future__ import annotations

import os
import platform
import re
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from deploy.loadtest.measurement import time_calls

#: Of the square matrices that are multiplied: they stay in the caches, so arithmetic alone counts.
SIDE = 1024


@dataclass(frozen=True, slots=True)
class Processor:
    """What it is, and multiplications with addition a second, measured with ONNX Runtime on all cores."""

    name: str
    cores: int
    #: Whether it multiplies and adds 8-bit numbers in one step (AVX512-VNNI or AVX-VNNI).
    vnni: bool
    int8_macs: float
    fp32_macs: float

    def __str__(self) -> str:
        return (
            f"{self.name}, {self.cores} cores, VNNI: {'yes' if self.vnni else 'no'}, measured "
            f"{self.int8_macs / 1e9:.0f} GMAC/s in 8 bits, {self.fp32_macs / 1e9:.0f} in FP32"
        )

    def as_row(self) -> dict[str, Any]:
        """For the report."""
        return asdict(self)


def processor_name() -> str:
    """As its maker calls it."""
    name = re.search(r"^model name\s*:\s*(.+)$", _cpuinfo(), re.MULTILINE)
    return name[1].strip() if name else platform.processor() or platform.machine()


def _cpuinfo() -> str:
    file = Path("/proc/cpuinfo")
    return file.read_text() if file.is_file() else ""


def measure_processor(seconds: float) -> Processor:
    """This machine's; each of the two speeds takes so many seconds."""
    from onnx import TensorProto  # noqa: PLC0415  who only asks for the name may have none

    generator = np.random.default_rng(0)
    left = generator.integers(0, 256, (SIDE, SIDE), np.uint8)
    right = generator.integers(-64, 65, (SIDE, SIDE), np.int8)
    return Processor(
        processor_name(),
        len(os.sched_getaffinity(0)),
        "vnni" in _cpuinfo(),
        int8_macs=_speed("MatMulInteger", left, right, TensorProto.INT32, seconds),
        fp32_macs=_speed("MatMul", left.astype(np.float32), right.astype(np.float32), TensorProto.FLOAT, seconds),
    )


def _speed(operator: str, left: NDArray[Any], right: NDArray[Any], result: int, seconds: float) -> float:
    """Multiplications a second of one matrix product; the right matrix is constant, as weights are."""
    import onnxruntime  # noqa: PLC0415
    from onnx import helper, numpy_helper  # noqa: PLC0415

    kind = helper.np_dtype_to_tensor_dtype(left.dtype)
    graph = helper.make_graph(
        [helper.make_node(operator, ["left", "right"], ["product"])],
        operator,
        [helper.make_tensor_value_info("left", kind, left.shape)],
        [helper.make_tensor_value_info("product", result, [SIDE, SIDE])],
        [numpy_helper.from_array(right, "right")],
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 18)], ir_version=10)
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = len(os.sched_getaffinity(0))
    session = onnxruntime.InferenceSession(model.SerializeToString(), options, ["CPUExecutionProvider"])
    products = time_calls(lambda: session.run(None, {"left": left}), 1, seconds)[0]
    return SIDE**3 * products
