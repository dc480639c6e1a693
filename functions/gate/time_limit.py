"""One time limit for many who wait, kept by one timer.

`asyncio.timeout` sets a timer for each wait, and as a rule takes it back a moment later. At a door that many knock at
in vain that is a tenth of the work (ADR 0008).
"""

from __future__ import annotations

import asyncio


class TimeLimit:
    """Limits how long each of many waits may take. It is the same for all: who begins first is over first."""

    def __init__(self, seconds: float) -> None:
        self.seconds = seconds
        self._ends_at: dict[Wait, float] = {}
        self._loop: asyncio.AbstractEventLoop | None = None
        self._timer: asyncio.TimerHandle | None = None

    def wait(self) -> Wait:
        """Return a context for one wait. It raises `TimeoutError` when the time is over, like `asyncio.timeout`."""
        return Wait(self)

    def begin(self, wait: Wait) -> None:
        """Count a wait's time from now on."""
        loop = asyncio.get_running_loop()
        if loop is not self._loop:
            self._loop, self._timer = loop, None
        self._ends_at[wait] = loop.time() + self.seconds
        if self._timer is None:
            self._timer = loop.call_later(self.seconds, self._look, loop)

    def end(self, wait: Wait) -> None:
        """Forget a wait. The timer is left: most come to their end long before, and the next will need it."""
        self._ends_at.pop(wait, None)

    def _look(self, loop: asyncio.AbstractEventLoop) -> None:
        self._timer = None
        for wait, ends_at in list(self._ends_at.items()):
            if ends_at > loop.time():
                self._timer = loop.call_at(ends_at, self._look, loop)
                return
            del self._ends_at[wait]
            wait.give_up()


class Wait:
    """What `TimeLimit.wait` returns."""

    __slots__ = ("_before", "_is_over", "_limit", "_task")

    def __init__(self, limit: TimeLimit) -> None:
        self._limit = limit
        self._is_over = False

    def __enter__(self) -> None:
        task = asyncio.current_task()
        assert task is not None, "a coroutine runs in a task"
        self._task, self._before = task, task.cancelling()
        self._limit.begin(self)

    def __exit__(self, kind: type[BaseException] | None, exc: BaseException | None, _: object) -> None:
        self._limit.end(self)
        if self._is_over and self._task.uncancel() <= self._before and kind is asyncio.CancelledError:
            raise TimeoutError from exc

    def give_up(self) -> None:
        """Interrupt whoever waits."""
        self._is_over = True
        self._task.cancel()
