"""What ends in the compute thread, on its way to those who wait in the event loop: woken once for a whole batch.

`asyncio.wrap_future` wakes the loop for each job, with a system call and a switch of threads each; of short jobs that
end together it takes more time than all else that the loop does for them.
"""

from __future__ import annotations

import asyncio
from collections import deque
from concurrent.futures import Future
from contextlib import suppress
from typing import Any, TypeVar

_T = TypeVar("_T")
_Ended = tuple["Future[Any]", "asyncio.Future[Any]"]


class Handover:
    """Hands results of one loop's jobs over to it. To be made in that loop."""

    def __init__(self) -> None:
        self._loop = asyncio.get_running_loop()
        self._ended: deque[_Ended] = deque()
        self._is_called = False

    @property
    def is_here(self) -> bool:
        """Tell whether this is its loop."""
        return asyncio.get_running_loop() is self._loop

    async def wait(self, computing: Future[_T]) -> _T:
        """Return what another thread computes, or raise what it raised. To cancel this cancels the future."""
        waiting: asyncio.Future[_T] = self._loop.create_future()
        computing.add_done_callback(lambda ended: self._give((ended, waiting)))
        try:
            return await waiting
        except asyncio.CancelledError:
            computing.cancel()
            raise

    def _give(self, ended: _Ended) -> None:
        self._ended.append(ended)
        # Appended before it is looked at, and `_take` clears it before it looks: nothing is left lying.
        if not self._is_called:
            self._is_called = True
            # A loop that is closed waits for nothing any more.
            with suppress(RuntimeError):
                self._loop.call_soon_threadsafe(self._take)

    def _take(self) -> None:
        self._is_called = False
        while self._ended:
            computing, waiting = self._ended.popleft()
            if waiting.done():
                continue
            if computing.cancelled():
                waiting.cancel()
            elif exc := computing.exception():
                waiting.set_exception(exc)
            else:
                waiting.set_result(computing.result())
