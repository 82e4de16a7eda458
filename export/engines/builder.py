"""ONNX graph -> TensorRT engine. Precision is the graph's: the builder has no branch for it, and none for the library.

Where the libraries differ: ``tensorrt`` builds for the GPU that is there and keeps a timing cache; ``tensorrt_rtx``
builds ahead of time for GPUs that are not, in under a second, and measures nothing, so there is nothing to keep.
"""

from __future__ import annotations

import functools
import signal
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from tqdm import tqdm

from alexnet_client.contract import IMAGE, MAX_BATCH
from alexnet_client.errors import AlexNetError
from alexnet_client.files import atomic_path
from export.engines import layers
from export.engines.layers import Layer
from export.engines.provider import Provider
from export.graphs import typed_graph


class EngineError(AlexNetError):
    """No engine could be built; says what the builder said, and what to do."""


@dataclass(frozen=True, slots=True)
class Profile:
    """The batch sizes that an engine takes: from ``least`` to ``most``, and fastest at ``best``."""

    least: int = 1
    best: int = 32
    most: int = MAX_BATCH

    def __post_init__(self) -> None:
        """Check the order.

        Raises:
            EngineError: the sizes do not rise from 1.
        """
        if not 1 <= self.least <= self.best <= self.most:
            raise EngineError(f"got profile {self}: want 1 <= MIN <= OPT <= MAX")

    @classmethod
    def parse(cls, text: str) -> Profile:
        """``1:32:128``.

        Raises:
            EngineError: it is no profile.
        """
        parts = text.split(":")
        if len(parts) != 3 or not all(part.isdigit() for part in parts):
            raise EngineError(f"got profile {text!r}: want MIN:OPT:MAX, as 1:32:128")
        return cls(*map(int, parts))

    def __str__(self) -> str:
        return f"{self.least}:{self.best}:{self.most}"


@dataclass(frozen=True, slots=True)
class Options:
    """How an engine is built."""

    profiles: tuple[Profile, ...] = (Profile(),)
    #: Scratch memory that a tactic may use, in MiB; None is all of the device's.
    workspace: int | None = None
    #: Runs on later versions of the library too, a little slower.
    version_compatible: bool = False
    #: Runs on every GPU from Ampere on, a little slower.
    hardware_compatible: bool = False
    #: Without weights, which are given at load: one plan for every checkpoint of the network.
    stripped: bool = False

    def __post_init__(self) -> None:
        """Check the values.

        Raises:
            EngineError: one is out of its range.
        """
        if not self.profiles:
            raise EngineError("got no profile: want at least one, as 1:32:128")
        if self.workspace is not None and self.workspace < 1:
            raise EngineError(f"got a workspace of {self.workspace} MiB: want at least 1")

    def as_dict(self) -> dict[str, Any]:
        """For a manifest."""
        return {**asdict(self), "profiles": [str(profile) for profile in self.profiles]}


@dataclass(frozen=True, slots=True)
class Engine:
    """A serialised engine and what it consists of."""

    plan: bytes
    layers: list[Layer]


def build(
    provider: Provider, graph: Path, capability: str, options: Options, timing_cache: Path | None = None
) -> Engine:
    """Build an engine for GPUs of one compute capability, with a progress bar.

    Args:
        graph: ONNX, typed, as :func:`export.graphs.typed_graph.check` wants it.
        capability: ``sm89``; a provider that cannot build ahead builds for the present GPU, which must be of it.
        timing_cache: what earlier builds measured, read and written; only where the provider measures.

    Raises:
        export.graphs.typed_graph.GraphError: there is no graph, or it is not fit for an engine.
        EngineError: the provider cannot parse the graph, build for the GPU, or find a tactic.
        KeyboardInterrupt: it was interrupted; the timing cache holds what was measured until then.
    """
    typed_graph.check(graph)
    trt = provider.trt
    log = _log(provider)
    log.clear()
    builder = trt.Builder(log)
    # Wanted by TensorRT 10, ignored by 11, the only kind of RTX.
    network = builder.create_network(1 << int(trt.NetworkDefinitionCreationFlag.STRONGLY_TYPED))
    parser = trt.OnnxParser(network, log)
    if not parser.parse_from_file(str(graph)):
        raise EngineError(_parse_error(provider, parser, graph))
    config = builder.create_builder_config()
    _set_options(trt, builder, config, options)
    _set_target(provider, config, capability)
    cache = _set_timing_cache(provider, config, timing_cache)
    with _interruptible() as interrupted, tqdm(desc=f"{capability} {graph.parent.name}", unit="step") as bar:
        monitor = _monitor(provider, bar, interrupted)
        config.progress_monitor = monitor
        plan = builder.build_serialized_network(network, config)
    if cache is not None and timing_cache is not None:
        with atomic_path(timing_cache) as partial:
            partial.write_bytes(bytes(cache.serialize()))
    if interrupted:
        raise KeyboardInterrupt
    if plan is None:
        raise EngineError(
            f"{provider} builds no engine for {capability} from {graph}: {log.reason()}: {_remedy(options)}"
        )
    content = bytes(plan)
    return Engine(content, layers.from_log(log.lines) or _inspected(provider, content))


def _remedy(options: Options) -> str:
    if options.stripped or options.version_compatible:
        # Seen with TensorRT-RTX 1.7: the first wants CUDA, the second a library that its wheel does not have.
        return "build it with tensorrt on its GPU, or without --stripped and --version-compatible"
    return "try another precision, or more --workspace"


def _set_options(trt: Any, builder: Any, config: Any, options: Options) -> None:
    flags = trt.BuilderFlag
    if options.version_compatible:
        config.set_flag(flags.VERSION_COMPATIBLE)
    if options.stripped:
        config.set_flag(flags.STRIP_PLAN)
        config.set_flag(flags.REFIT)
    if options.hardware_compatible:
        config.hardware_compatibility_level = trt.HardwareCompatibilityLevel.AMPERE_PLUS
    if options.workspace is not None:
        config.set_memory_pool_limit(trt.MemoryPoolType.WORKSPACE, options.workspace << 20)
    for wanted in options.profiles:
        profile = builder.create_optimization_profile()
        shapes = ((batch, *IMAGE.shape) for batch in (wanted.least, wanted.best, wanted.most))
        profile.set_shape(IMAGE.name, *shapes)
        config.add_optimization_profile(profile)
    # FP32 means FP32: TF32 rounds what is multiplied to 10 bits.
    config.clear_flag(flags.TF32)
    # The table of layers goes into the log, and into the plan for the inspector.
    config.profiling_verbosity = trt.ProfilingVerbosity.DETAILED


def _set_target(provider: Provider, config: Any, capability: str) -> None:
    if not provider.builds_ahead:
        return
    known = provider.capabilities()
    if capability not in known:
        raise EngineError(
            f"{provider} builds for {', '.join(known)}, not for {capability}: build it with tensorrt on that GPU"
        )
    config.num_compute_capabilities = 1
    config.set_compute_capability(getattr(provider.trt.ComputeCapability, capability.upper()), 0)


def _set_timing_cache(provider: Provider, config: Any, path: Path | None) -> Any:
    if provider.builds_ahead or path is None:
        return None
    cache = config.create_timing_cache(path.read_bytes() if path.is_file() else b"")
    # One of another GPU is refused by the library, and then begun anew.
    if not config.set_timing_cache(cache, ignore_mismatch=False):
        cache = config.create_timing_cache(b"")
        config.set_timing_cache(cache, ignore_mismatch=False)
    return cache


def _inspected(provider: Provider, plan: bytes) -> list[Layer]:
    """The layers, from the engine itself; empty where its GPU is not here."""
    engine = provider.trt.Runtime(_log(provider)).deserialize_cuda_engine(plan)
    if engine is None:
        return []
    inspector = engine.create_engine_inspector()
    return layers.from_inspector(inspector.get_engine_information(provider.trt.LayerInformationFormat.JSON))


def _parse_error(provider: Provider, parser: Any, graph: Path) -> str:
    error = parser.get_error(0)
    return (
        f"{provider} cannot parse {graph}: node {error.node_name() or '?'} ({error.node_operator() or '?'}): "
        f"{_one_line(error.desc())}: {typed_graph.REMEDY}"
    )


@functools.cache
def _log(provider: Provider) -> Any:
    """One for the process: the library keeps the first it is given, and hands it all that happens later."""
    severities = provider.trt.ILogger.Severity

    class Log(provider.trt.ILogger):  # type: ignore[misc, name-defined]
        def __init__(self) -> None:
            provider.trt.ILogger.__init__(self)
            self.clear()

        def clear(self) -> None:
            self.lines: list[str] = []
            self.errors: list[str] = []

        def log(self, severity: Any, message: str) -> None:
            if severity in (severities.ERROR, severities.INTERNAL_ERROR):
                self.errors.append(message)
            elif severity == severities.VERBOSE:
                self.lines.append(message)

        def reason(self) -> str:
            return _one_line(self.errors[-1]) if self.errors else "it gave no reason"

    return Log()


def _monitor(provider: Provider, bar: Any, interrupted: list[int]) -> Any:
    class Monitor(provider.trt.IProgressMonitor):  # type: ignore[misc, name-defined]
        """The whole build as one bar: phases lie in one another, the number of all their steps is not known ahead."""

        def __init__(self) -> None:
            provider.trt.IProgressMonitor.__init__(self)

        def phase_start(self, phase: str, _parent: str | None, num_steps: int) -> None:
            bar.total = (bar.total or 0) + num_steps
            bar.set_postfix_str(phase, refresh=False)

        def step_complete(self, _phase: str, _step: int) -> bool:
            bar.update()
            return not interrupted

        def phase_finish(self, _phase: str) -> None:
            pass

    return Monitor()


@contextmanager
def _interruptible() -> Iterator[list[int]]:
    """Ctrl-C and SIGTERM ask the builder to stop: an exception must not pass through the library's frames."""
    seen: list[int] = []
    before = {
        number: signal.signal(number, lambda got, _: seen.append(got)) for number in (signal.SIGINT, signal.SIGTERM)
    }
    try:
        yield seen
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


def _one_line(text: str) -> str:
    return " ".join(text.split())[:400]
