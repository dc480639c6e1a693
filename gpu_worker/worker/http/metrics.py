"""`/metrics`: the worker's numbers as Prometheus reads them. No text of a job, no id and no caller is among them."""

from __future__ import annotations

from collections.abc import Iterator
from itertools import accumulate

from prometheus_client import CollectorRegistry, generate_latest
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, HistogramMetricFamily, Metric
from prometheus_client.registry import Collector

from worker.usage.measured import Histogram, Measured
from worker.usage.memory import peak_mib

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
        jobs = CounterMetricFamily(
            "twohop_worker_jobs", "Requests by how they ended: ok, or the code of the error.", labels=["outcome"]
        )
        for outcome, count in sorted(numbers.jobs.items()):
            jobs.add_metric([outcome], count)
        yield jobs
        yield GaugeMetricFamily(
            "twohop_worker_jobs_inside", "Requests that are being read, wait or run.", value=self._jobs_inside
        )
        yield CounterMetricFamily(
            "twohop_worker_tokens", "Tokens that went through the model, read and written.", value=numbers.tokens
        )
        yield CounterMetricFamily(
            "twohop_worker_memory_splits",
            "Batches that ran out of memory and were halved.",
            value=numbers.memory_splits,
        )
        yield GaugeMetricFamily(
            "twohop_worker_batch_tokens_limit",
            "Tokens that the next batch may have, as memory has taught.",
            value=numbers.batch_tokens_max,
        )
        yield GaugeMetricFamily(
            "twohop_worker_memory_peak_bytes",
            "The most memory that was in use, of the device or of the process.",
            value=peak_mib() * _MIB,
        )
        yield _histogram(
            "queue_seconds", "Seconds that an answered request waited for its first batch.", numbers.queue_seconds
        )
        yield _histogram(
            "compute_seconds",
            "Seconds of the engine's time that an answered request took: its share of its batches.",
            numbers.compute_seconds,
        )
        yield _histogram("batch_items", "Items of a batch; of a step, in generation.", numbers.batch_items)
        yield _histogram("batch_tokens", "Tokens of a batch; of a step, in generation.", numbers.batch_tokens)
        start = GaugeMetricFamily(
            "twohop_worker_start_seconds", "Seconds that the start took, by phase.", labels=["phase"]
        )
        for phase, ms in numbers.phases_ms.items():
            start.add_metric([phase], ms / 1_000)
        yield start


def _histogram(name: str, documentation: str, histogram: Histogram) -> HistogramMetricFamily:
    bounds = [*(str(bound) for bound in histogram.bounds), "+Inf"]
    buckets = list(zip(bounds, accumulate(histogram.counts), strict=True))
    return HistogramMetricFamily(f"twohop_worker_{name}", documentation, buckets=buckets, sum_value=histogram.total)
