"""The door of the HTTP front: says whether jobs are let in, and knows how many are inside.

It belongs to one event loop, and takes no lock.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable

from worker.errors import UnavailableError

_STARTING = "the worker is starting; try again in a moment"


class Inside:
    """A context that counts who is in it. One is used by everybody."""

    def __init__(self, come: Callable[[], None], go: Callable[[], None]) -> None:
        self._come, self._go = come, go

    def __enter__(self) -> None:
        self._come()

    def __exit__(self, *_: object) -> None:
        self._go()


class Door:
    """Closed while the worker starts, open until it stops, then closed for good."""

    def __init__(self, *, jobs_max: int) -> None:
        self._jobs_max = jobs_max
        self._inside = 0
        self._stay = Inside(self._come, self._go)
        self._closed_because = _STARTING
        self._emptied = asyncio.Event()
        self._emptied.set()
        self._gave_up = False
        self._ends: set[Callable[[], object]] = set()

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
        self._gave_up = True
        for end in self._ends:
            end()

    def gave_up(self) -> bool:
        """Return whether those inside have to go."""
        return self._gave_up

    def on_given_up(self, end: Callable[[], object]) -> None:
        """Have `end` called once those inside have to go."""
        self._ends.add(end)

    def forget(self, end: Callable[[], object]) -> None:
        """Have `end` not called any more."""
        self._ends.discard(end)

    def enter(self) -> Inside:
        """Return what one is inside for as long as it lasts.

        Raises:
            UnavailableError: the door is closed, or too many are inside.
        """
        if self._closed_because:
            raise UnavailableError(self._closed_because)
        if self._inside >= self._jobs_max:
            raise UnavailableError("the worker has as many jobs as it takes; try again later")
        return self._stay

    def stay(self) -> Inside:
        """Return the same for somebody who was let in before."""
        return self._stay

    async def emptied(self, *, seconds_max: float) -> bool:
        """Wait until nobody is inside. Return False if that takes longer."""
        try:
            await asyncio.wait_for(self._emptied.wait(), seconds_max)
        except TimeoutError:
            return False
        return True

    def _come(self) -> None:
        self._inside += 1
        self._emptied.clear()

    def _go(self) -> None:
        self._inside -= 1
        if not self._inside:
            self._emptied.set()
