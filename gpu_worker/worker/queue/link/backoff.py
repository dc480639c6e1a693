"""Waits between tries: each twice the one before, up to a bound, and never the same for two workers."""

from __future__ import annotations

import random
from typing import Protocol


class Rng(Protocol):
    """Where chance comes from, so that tests can fix it."""

    def uniform(self, a: float, b: float) -> float:
        """Return a number between the two."""
        ...


class Backoff:
    """The next wait, for as long as things go wrong.

    Args:
        first: seconds of the first wait.
        most: seconds that no wait exceeds.
        rng: takes up to half off each wait, so that workers who failed together do not return together.
    """

    def __init__(self, *, first: float, most: float, rng: Rng | None = None) -> None:
        self._first = first
        self._most = most
        self._next = first
        self._rng = rng or random.Random()  # noqa: S311 - it spreads load, it keeps no secret

    def next_seconds(self, *, least: float = 0) -> float:
        """Return how long to wait now; the next wait is twice as long. What a server asked for is the least."""
        seconds = max(self._next, min(least, self._most))
        self._next = min(self._most, self._next * 2)
        return seconds * self._rng.uniform(0.5, 1.0) if not least else seconds * self._rng.uniform(1.0, 1.25)

    def reset(self) -> None:
        """Begin anew: things went right."""
        self._next = self._first
