"""TensorRT's builder as it differs from TensorRT-RTX's: for the present GPU only, with a timing cache and an inspector.

Recorded from the Python API references of 10.12 and 11: names and signatures are theirs, the plan is a stand-in. What
the two have in common with TensorRT-RTX is tested with that library itself.
"""

from __future__ import annotations

import json
import signal
from enum import IntEnum
from types import SimpleNamespace
from typing import Any

from export.engines.provider import Provider

LAYER = {"Name": "dense1", "LayerType": "gemm", "TacticName": "sm89_hmma", "Metadata": "[ONNX Layer: dense1]"}
#: What the inspectors call the same things.
ANSWERS = {
    "10.12.0.36": {
        "Layers": [{**LAYER, "Inputs": [{"Name": "flat", "Format/Datatype": "Row major linear FP16 format"}]}],
        "Bindings": ["image"],
    },
    "11.0.0.114": {
        "Layers": [{**LAYER, "Inputs": [{"Name": "flat", "Format": "Row major linear", "DataType": "Half"}]}],
        "I/O Tensors": ["image"],
    },
}


class Cache:
    """``ITimingCache``: what was measured, earlier and now."""

    def __init__(self, content: bytes) -> None:
        self.content = content

    def serialize(self) -> bytes:
        return self.content


class Config:
    """``IBuilderConfig``."""

    def __init__(self, foreign: bytes) -> None:
        self.foreign, self.flags, self.cleared = foreign, [], []  # type: ignore[var-annotated]
        self.cache: Cache | None = None
        self.profiles: list[Any] = []

    def set_flag(self, flag: str) -> None:
        self.flags.append(flag)

    def clear_flag(self, flag: str) -> None:
        self.cleared.append(flag)

    def create_timing_cache(self, content: bytes) -> Cache:
        return Cache(content)

    def set_timing_cache(self, cache: Cache, ignore_mismatch: bool) -> bool:
        if cache.content == self.foreign and not ignore_mismatch:
            return False
        self.cache = cache
        return True

    def set_memory_pool_limit(self, pool: str, size: int) -> None:
        self.pool = (pool, size)

    def add_optimization_profile(self, profile: Any) -> None:
        self.profiles.append(profile)


class Module(SimpleNamespace):
    """Like a module, it can be a dictionary's key."""

    __hash__ = object.__hash__  # type: ignore[assignment]


class Library:
    """One version; ``configs`` are those that were built with."""

    def __init__(self, version: str, *, steps: int = 3, interrupt: bool = False, foreign: bytes = b"foreign") -> None:
        self.configs: list[Config] = []
        self.created_with: list[int] = []
        library = self

        class Builder:
            def __init__(self, log: Any) -> None:
                self.log = log

            def create_network(self, flags: int) -> Any:
                library.created_with.append(flags)
                return SimpleNamespace()

            def create_builder_config(self) -> Config:
                library.configs.append(Config(foreign))
                return library.configs[-1]

            def create_optimization_profile(self) -> Any:
                shapes: dict[str, Any] = {}
                return SimpleNamespace(
                    shapes=shapes, set_shape=lambda name, *sizes: shapes.__setitem__(name, [size[0] for size in sizes])
                )

            def build_serialized_network(self, _network: Any, config: Any) -> bytes | None:
                monitor = config.progress_monitor
                monitor.phase_start("Building Engine", None, steps)
                for step in range(steps):
                    if config.cache is not None:
                        config.cache.content += b"+measured"
                    if interrupt:
                        signal.raise_signal(signal.SIGINT)
                    if not monitor.step_complete("Building Engine", step):
                        return None
                monitor.phase_finish("Building Engine")
                return b"a plan"

        class Base:
            class Severity(IntEnum):
                INTERNAL_ERROR, ERROR, WARNING, INFO, VERBOSE = range(5)

            def __init__(self) -> None:
                pass

        inspector = SimpleNamespace(get_engine_information=lambda _: json.dumps(ANSWERS[version]))
        engine = SimpleNamespace(create_engine_inspector=lambda: inspector)
        self.module = Module(
            __version__=version,
            Builder=Builder,
            ILogger=Base,
            IProgressMonitor=Base,
            OnnxParser=lambda _network, _log: SimpleNamespace(parse_from_file=lambda _: True),
            NetworkDefinitionCreationFlag=SimpleNamespace(STRONGLY_TYPED=1),
            BuilderFlag=SimpleNamespace(VERSION_COMPATIBLE="vc", STRIP_PLAN="strip", REFIT="refit", TF32="tf32"),
            HardwareCompatibilityLevel=SimpleNamespace(AMPERE_PLUS="ampere+"),
            MemoryPoolType=SimpleNamespace(WORKSPACE="workspace"),
            ProfilingVerbosity=SimpleNamespace(DETAILED="detailed"),
            LayerInformationFormat=SimpleNamespace(JSON="json"),
            Runtime=lambda _: SimpleNamespace(deserialize_cuda_engine=lambda _: engine),
        )

    @property
    def provider(self) -> Provider:
        return Provider("tensorrt", self.module)
