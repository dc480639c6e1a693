"""A job's parts on their way from the compute thread to one reader in the event loop.

The reader is never waited for: what it has not read yet is merged, so a slow one gets larger parts and costs no more
than the text itself.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass


@dataclass(frozen=True, slots=True, kw_only=True)
class Made:
    """What came since the last reading."""

    text: str = ""
    progress: tuple[int, int] | None = None
    """Items done, and of how many; the latest."""


class Parts:
    """A sink with a reader. To be made in the loop that reads it."""

    def __init__(self) -> None:
        self._loop = asyncio.get_running_loop()
        self._texts: list[str] = []
        self._progress: tuple[int, int] | None = None
        self._came = asyncio.Event()
        self.is_used = False
        """Whether anything ever came."""

    def part(self, text: str) -> None:
        """See `Sink.part`."""
        self._call(lambda: self._texts.append(text))

    def progress(self, done: int, total: int) -> None:
        """See `Sink.progress`."""

        def keep() -> None:
            self._progress = (done, total)

        self._call(keep)

    async def came(self) -> None:
        """Wait until there is something to take."""
        await self._came.wait()

    def wake(self) -> None:
        """Let the reader look, though nothing came. To be called in its loop."""
        self._came.set()

    def take(self) -> Made:
        """Return what came, and forget it."""
        made = Made(text="".join(self._texts), progress=self._progress)
        self._texts, self._progress = [], None
        self._came.clear()
        return made

    def _call(self, keep: Callable[[], None]) -> None:
        def call() -> None:
            keep()
            self._came.set()

        self.is_used = True
        # A loop that is closed reads nothing any more.
        with suppress(RuntimeError):
            self._loop.call_soon_threadsafe(call)
