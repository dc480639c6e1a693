"""A request in the engine's hands: what is computed of it, and how whoever waits is told."""

from __future__ import annotations

from collections.abc import Sequence
from concurrent.futures import Future
from dataclasses import dataclass, field
from typing import Any, Protocol

from worker.engine import Item, Work
from worker.errors import UnavailableError


class Sink(Protocol):
    """What a job makes before its end goes here.

    Gets a job's parts and its progress. It is called from the compute thread, and so must never block or raise.
    """

    def part(self, text: str) -> None:
        """Take the next piece of the text that the job writes; the pieces together are its output."""
        ...

    def progress(self, done: int, total: int) -> None:
        """Be told how many of the job's items are computed."""
        ...


@dataclass(frozen=True, slots=True, kw_only=True)
class Computed:
    """A request's rows, and what they took."""

    rows: Sequence[Any]
    compute_ms: float
    """Its share of the batches it was in: shares add up to the time that the engine was busy."""
    queue_ms: float
    """From handing it over to its first batch."""
    batch_items: int
    """Of the largest batch that it was in, its own and others'."""
    tokens_written: int = 0
    """By a model that writes, beside those of its input."""


@dataclass(slots=True, kw_only=True, eq=False)
class Request:
    """One job's work, and how far it is."""

    work: Work
    expires_ms: int
    queued_ms: float
    sink: Sink | None
    future: Future[Computed] = field(default_factory=Future)
    rows: dict[int, Any] = field(default_factory=dict)
    taken: int = 0
    """Items that are in a batch or were; the rest waits."""
    compute_ms: float = 0
    started_ms: float | None = None
    batch_items: int = 0
    tokens_written: int = 0

    @property
    def items(self) -> Sequence[Item]:
        """Its items."""
        return self.work.items

    def count(self, *, began_ms: float, share_ms: float, batch_items: int) -> None:
        """Count a batch that it was in."""
        self.started_ms = began_ms if self.started_ms is None else self.started_ms
        self.compute_ms += share_ms
        self.batch_items = max(self.batch_items, batch_items)

    def fail(self, exc: Exception) -> None:
        """Tell whoever waits that it failed, unless they know its end already."""
        if self._is_waited_for():
            self.future.set_exception(exc)

    def fail_expired(self) -> None:
        """Tell whoever waits that its turn comes too late."""
        self.fail(UnavailableError("the job's time passed before its turn came; it was not run"))

    def finish(self) -> None:
        """Hand over its rows, all of which are there."""
        assert self.started_ms is not None
        if self._is_waited_for():
            self.future.set_result(
                Computed(
                    rows=[self.rows[place] for place in range(len(self.items))],
                    compute_ms=self.compute_ms,
                    queue_ms=self.started_ms - self.queued_ms,
                    batch_items=self.batch_items,
                    tokens_written=self.tokens_written,
                )
            )

    def _is_waited_for(self) -> bool:
        if self.future.done():
            return False
        # Until here it could be cancelled from another thread at any moment, which this ends.
        return self.future.running() or self.future.set_running_or_notify_cancel()
