"""`/metrics`: the worker's numbers as Prometheus reads them. No text of a job, no id and no caller is among them."""

from __future__ import annotations

from collections.abc import Iterator
from itertools import accumulate

from prometheus_client import CollectorRegistry, generate_latest
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, HistogramMetricFamily, Metric
from prometheus_client.registry import Collector

from worker.measured import Histogram, Measured
from worker.memory import peak_mib

CONTENT_TYPE = "text/plain; version=0.0.4; charset=utf-8"
_MIB = 2**20


def render(measured: Measured, *, jobs_inside: int) -> bytes:
    """Return the exposition of this moment."""
    registry = CollectorRegistry()
    registry.register(_Worker(measured, jobs_inside))
    return generate_latest(registry)


class _Worker(Collector):
    def __init__(self, measured: Measured, jobs_inside: int) -> None:
        self._numbers = measured.numbers
        self._jobs_inside = jobs_inside

    def collect(self) -> Iterator[Metric]:
        numbers = self._numbers
        jobs = CounterMetricFamily("twohop_worker_jobs", "Requests, by how they ended.", labels=["outcome"])
        for outcome, count in sorted(numbers.jobs.items()):
            jobs.add_metric([outcome], count)
        yield jobs
        yield GaugeMetricFamily("twohop_worker_jobs_inside", "Read, waiting or running.", value=self._jobs_inside)
        yield CounterMetricFamily("twohop_worker_tokens", "That went through the model.", value=numbers.tokens)
        yield CounterMetricFamily(
            "twohop_worker_memory_splits", "Batches halved for want of memory.", value=numbers.memory_splits
        )
        yield GaugeMetricFamily(
            "twohop_worker_batch_tokens_limit", "That are tried at once, as learned.", value=numbers.batch_tokens_max
        )
        yield GaugeMetricFamily("twohop_worker_memory_peak_bytes", "The most in use.", value=peak_mib() * _MIB)
        yield _histogram("queue_seconds", "From reading a job to its first batch.", numbers.queue_seconds)
        yield _histogram("compute_seconds", "A job's share of the engine's time.", numbers.compute_seconds)
        yield _histogram("batch_items", "Items that ran together.", numbers.batch_items)
        yield _histogram("batch_tokens", "Tokens that ran together.", numbers.batch_tokens)
        start = GaugeMetricFamily("twohop_worker_start_seconds", "The start, by phase.", labels=["phase"])
        for phase, ms in numbers.phases_ms.items():
            start.add_metric([phase], ms / 1_000)
        yield start


def _histogram(name: str, documentation: str, histogram: Histogram) -> HistogramMetricFamily:
    bounds = [*(str(bound) for bound in histogram.bounds), "+Inf"]
    buckets = list(zip(bounds, accumulate(histogram.counts), strict=True))
    return HistogramMetricFamily(f"twohop_worker_{name}", documentation, buckets=buckets, sum_value=histogram.total)
