"""What the worker has done since it began, as plain numbers: for `/metrics`, and for the log's last line."""

from __future__ import annotations

import threading
from bisect import bisect_left
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

_SECONDS = (0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0, 60.0, 300.0)
_ITEMS = (1.0, 2.0, 4.0, 8.0, 16.0, 32.0, 64.0, 128.0, 256.0, 512.0, 1024.0)
_TOKENS = (16.0, 64.0, 256.0, 1024.0, 2048.0, 4096.0, 8192.0, 16384.0, 65536.0)


@dataclass(slots=True)
class Histogram:
    """Counts of values by upper bounds; the last count is of those above every bound."""

    bounds: Sequence[float]
    counts: list[int] = field(init=False)
    total: float = 0.0

    def __post_init__(self) -> None:
        self.counts = [0] * (len(self.bounds) + 1)

    def observe(self, value: float) -> None:
        """Count a value."""
        self.counts[bisect_left(self.bounds, value)] += 1
        self.total += value


@dataclass(slots=True, kw_only=True)
class Numbers:
    """Everything that is counted."""

    jobs: Counter[str] = field(default_factory=Counter)
    """By outcome: `ok`, or the code of the failure or refusal."""
    tokens: int = 0
    memory_splits: int = 0
    """Batches that ran out of memory and were halved."""
    batch_tokens_max: int = 0
    """What the next batch may have, as far as memory has taught."""
    queue_seconds: Histogram = field(default_factory=lambda: Histogram(_SECONDS))
    compute_seconds: Histogram = field(default_factory=lambda: Histogram(_SECONDS))
    batch_items: Histogram = field(default_factory=lambda: Histogram(_ITEMS))
    batch_tokens: Histogram = field(default_factory=lambda: Histogram(_TOKENS))
    phases_ms: Mapping[str, int] = field(default_factory=dict)
    """Of the start."""


class Measured:
    """Counts, from any thread. Nothing heavy is imported for it: a start pays for what it counts with."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self.numbers = Numbers()
        """To be read: each number is right, though two may be of different moments."""

    def started(self, phases_ms: Mapping[str, int]) -> None:
        """Keep what the start took."""
        self.numbers.phases_ms = dict(phases_ms)

    def failed(self, code: str) -> None:
        """Count a request that was refused, or that failed."""
        with self._lock:
            self.numbers.jobs[code] += 1

    def ran(self, *, queue_ms: float, compute_ms: float, tokens: int) -> None:
        """Count a job that was answered."""
        with self._lock:
            self.numbers.jobs["ok"] += 1
            self.numbers.tokens += tokens
            self.numbers.queue_seconds.observe(queue_ms / 1_000)
            self.numbers.compute_seconds.observe(compute_ms / 1_000)

    def batch(self, *, items: int, tokens: int, tokens_max: int) -> None:
        """Count a batch that ran, and note how many tokens the next one may have."""
        with self._lock:
            self.numbers.batch_tokens_max = tokens_max
            self.numbers.batch_items.observe(items)
            self.numbers.batch_tokens.observe(tokens)

    def split(self, *, tokens_max: int) -> None:
        """Count a batch that did not fit into memory, and note how many tokens the next one may have."""
        with self._lock:
            self.numbers.batch_tokens_max = tokens_max
            self.numbers.memory_splits += 1
