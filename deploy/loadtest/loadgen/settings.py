"""What LoadGen is told: the scenario, what is enough, and how fast it may be."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from alexnet_client.contract import MAX_BATCH
from deploy.loadtest.loadtest_error import LoadTestError

#: LoadGen's: one query after the other, of one sample and of several; queries at random times; all at once.
SINGLE_STREAM, MULTI_STREAM, SERVER, OFFLINE = SCENARIOS = ("SingleStream", "MultiStream", "Server", "Offline")
#: Seconds and queries of a run. Of a 99th percentile LoadGen wants 662 queries, if none of them is late.
SECONDS, QUERIES = 10.0, 1000
#: What a result of MLPerf wants instead (mlcommons/inference, ``loadgen/mlperf.conf``).
OFFICIAL_SECONDS = 600
#: Samples a query of MultiStream, as in ``mlperf.conf``.
SAMPLES = 8


@dataclass(frozen=True, slots=True)
class Settings:
    """One run."""

    scenario: str
    #: Every sample once, for its answer, instead of many for their times.
    accuracy: bool = False
    #: Server: queries a second. Others: samples a second that may be expected, which says how many are made ready.
    rate: float = 1.0
    #: Server: seconds that 99 % of the queries may take.
    p99: float = 0.1
    #: At least; and queries, which in Offline are samples.
    seconds: float = SECONDS
    queries: int = QUERIES

    def __post_init__(self) -> None:
        """Refuse what LoadGen would take silently.

        Raises:
            LoadTestError: there is no such scenario, or a number is not above 0.
        """
        if self.scenario not in SCENARIOS:
            raise LoadTestError(f"the scenario is {self.scenario!r}: want one of {', '.join(SCENARIOS)}")
        for name in ("rate", "p99", "seconds", "queries"):
            if not getattr(self, name) > 0:
                raise LoadTestError(f"{name} is {getattr(self, name):g}: want more than 0")

    @property
    def name(self) -> str:
        """Of the folder of its logs."""
        return f"{self.scenario.lower()}-{'accuracy' if self.accuracy else 'performance'}"

    def as_loadgen(self) -> Any:
        """As ``mlperf_loadgen.TestSettings``."""
        import mlperf_loadgen as lg  # noqa: PLC0415  by those who run it alone: it is compiled, and not everywhere

        told = lg.TestSettings()
        told.scenario = getattr(lg.TestScenario, self.scenario)
        told.mode = lg.TestMode.AccuracyOnly if self.accuracy else lg.TestMode.PerformanceOnly
        told.min_duration_ms = round(1000 * self.seconds)
        told.min_query_count = self.queries
        told.single_stream_expected_latency_ns = _ns(1 / self.rate)
        told.multi_stream_samples_per_query = SAMPLES
        told.multi_stream_expected_latency_ns = _ns(SAMPLES / self.rate)
        told.offline_expected_qps = self.rate
        told.server_target_qps = self.rate
        told.server_target_latency_ns = _ns(self.p99)
        told.server_target_latency_percentile = 0.99
        # Any number will do, and the same one makes two runs alike.
        told.qsl_rng_seed = told.sample_index_rng_seed = told.schedule_rng_seed = 2012
        return told

    def __str__(self) -> str:
        """For people, with what was scaled down."""
        if self.accuracy:
            return f"{self.scenario}, accuracy: every sample once"
        target = f"{self.rate:.1f}/s, p99 {1000 * self.p99:.0f} ms; " if self.scenario == SERVER else ""
        what = "samples" if self.scenario == OFFLINE else "queries"
        return (
            f"{self.scenario}: {target}at least {self.seconds:g} s and {self.queries} {what} "
            f"(scaled down: MLPerf's rules want {OFFICIAL_SECONDS} s)"
        )


def in_flight(scenario: str) -> int:
    """Requests that may be under way at once: where LoadGen hands over everything in one query it is ours to pace."""
    return 4 if scenario == OFFLINE else MAX_BATCH * MAX_BATCH


def _ns(seconds: float) -> int:
    return max(1, round(1e9 * seconds))
