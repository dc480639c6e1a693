"""An event loop whose time jumps to the next timer, so that a day passes as fast as it can be computed.

Nothing may run outside the loop meanwhile, in a thread or behind a socket: the clock does not wait for it, unless it
is told to.
"""

from __future__ import annotations

import asyncio
import selectors
import time
from collections.abc import Coroutine, Iterator
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from typing import Any, TypeVar

_T = TypeVar("_T")
EPOCH = datetime(2026, 11, 25, tzinfo=UTC)
"""Midnight, when a day's budget begins."""


class VirtualLoop(asyncio.SelectorEventLoop):
    """A loop with a time of its own, which begins at 0."""

    def __init__(self) -> None:
        self.now_seconds = 0.0
        self.outside = 0
        """How much is waited for that happens outside."""
        super().__init__(_JumpingSelector(self))

    def time(self) -> float:
        """Return the virtual seconds that have passed."""
        return self.now_seconds

    @contextmanager
    def waiting_outside(self) -> Iterator[None]:
        """Let time pass as it does outside, and not jump, as long as this is open."""
        self.outside += 1
        try:
            yield
        finally:
            self.outside -= 1


class _JumpingSelector(selectors.DefaultSelector):
    """Where another loop would wait for its next timer, moves the time there instead."""

    def __init__(self, loop: VirtualLoop) -> None:
        super().__init__()
        self._loop = loop

    def select(self, timeout: float | None = None) -> list[tuple[selectors.SelectorKey, int]]:
        """Return what is ready, after moving the time if nothing is."""
        if timeout is None or timeout <= 0:
            return self._select(timeout)
        if ready := self._select(0):
            return ready
        if not self._loop.outside:
            self._loop.now_seconds += timeout
            return []
        began = time.monotonic()
        found = self._select(timeout)
        # A select may end a moment before its time.
        self._loop.now_seconds += min(time.monotonic() - began, timeout) if found else timeout
        return found

    def _select(self, timeout: float | None) -> list[tuple[selectors.SelectorKey, int]]:
        found: list[tuple[selectors.SelectorKey, int]] = super().select(timeout)
        return found


class LoopClock:
    """A `gate.ports.Clock` that shows the running loop's time."""

    def __init__(self, epoch: datetime = EPOCH) -> None:
        self._epoch = epoch

    def now(self) -> datetime:
        """Return the time in UTC."""
        return self._epoch + timedelta(seconds=asyncio.get_running_loop().time())


def run_virtual(main: Coroutine[Any, Any, _T]) -> _T:
    """Run a coroutine to its end on virtual time."""
    with asyncio.Runner(loop_factory=VirtualLoop) as runner:
        return runner.run(main)
