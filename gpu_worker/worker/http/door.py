"""The door of the HTTP front: says whether jobs are let in, and knows how many are inside.

It belongs to one event loop, and takes no lock.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterator
from contextlib import contextmanager

from worker.errors import UnavailableError

_STARTING = "the worker is starting; try again in a moment"


class Door:
    """Closed while the worker starts, open until it stops, then closed for good."""

    def __init__(self, *, jobs_max: int) -> None:
        self._jobs_max = jobs_max
        self._inside = 0
        self._closed_because = _STARTING
        self._emptied = asyncio.Event()
        self._emptied.set()
        self._is_given_up = False
        self._ends: set[Callable[[], None]] = set()

    @property
    def closed_because(self) -> str:
        """Why no job is let in, or an empty text while the door is open."""
        return self._closed_because

    @property
    def is_starting(self) -> bool:
        """Whether the door has not been opened yet."""
        return self._closed_because == _STARTING

    @property
    def inside(self) -> int:
        """How many are inside."""
        return self._inside

    def open(self) -> None:
        """Let jobs in from now on."""
        self._closed_because = ""

    def shut(self) -> None:
        """Let no more jobs in. Those inside go on."""
        self._closed_because = "the worker is stopping; another one takes the job"

    def give_up(self) -> None:
        """Have those inside go, done or not."""
        self._is_given_up = True
        for end in self._ends:
            end()

    @contextmanager
    def until_given_up(self, end: Callable[[], None]) -> Iterator[None]:
        """Have `end` called, within the context, once those inside have to go; at once where they have to already."""
        if self._is_given_up:
            end()
        self._ends.add(end)
        try:
            yield
        finally:
            self._ends.discard(end)

    @contextmanager
    def enter(self) -> Iterator[None]:
        """Be inside for as long as the context lasts.

        Raises:
            UnavailableError: the door is closed, or too many are inside.
        """
        if self._closed_because:
            raise UnavailableError(self._closed_because)
        if self._inside >= self._jobs_max:
            raise UnavailableError("the worker has as many jobs as it takes; try again later")
        with self.stay():
            yield

    @contextmanager
    def stay(self) -> Iterator[None]:
        """Be inside for as long as the context lasts, for somebody who was let in before."""
        self._inside += 1
        self._emptied.clear()
        try:
            yield
        finally:
            self._inside -= 1
            if not self._inside:
                self._emptied.set()

    async def emptied(self, *, seconds_max: float) -> bool:
        """Wait until nobody is inside. Return False if that takes longer."""
        try:
            await asyncio.wait_for(self._emptied.wait(), seconds_max)
        except TimeoutError:
            return False
        return True
