"""Sees within seconds that the kill level went to 5, while calls wait for their jobs."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, AsyncIterator, Coroutine
from contextlib import suppress
from dataclasses import dataclass
from typing import Any, TypeVar

from gate.domain import kill
from gate.domain.kill import KillLevel
from gate.errors import GateError
from gate.steps.policy import Policies

_Result = TypeVar("_Result")
_LOOKS_PER_PERIOD = 4


@dataclass(slots=True, kw_only=True, eq=False)
class _Waiting:
    """One who waits for a job."""

    task: asyncio.Task[Any]
    known: asyncio.Event | None
    cancelling: int
    """How often the task was cancelled before, by others."""
    stopping: asyncio.Task[None] | None = None
    level: int | None = None
    """At which it was stopped."""


class KillWatch:
    """Looks at the level as long as anybody waits.

    Args:
        policies: which know the level, and read it again when it is older than `fresh_seconds`.
        fresh_seconds: the level is seen a quarter of this later than another read would see it, at most.
    """

    def __init__(self, *, policies: Policies, fresh_seconds: float) -> None:
        self._policies = policies
        self._pause_seconds = max(fresh_seconds / _LOOKS_PER_PERIOD, 0.05)
        self._watching: asyncio.Task[None] | None = None
        self._waiting: set[_Waiting] = set()

    async def unless_stopped(
        self, work: Coroutine[Any, Any, _Result], *, known: asyncio.Event | None = None
    ) -> _Result:
        """Await work; cancel it when the level says stop.

        It stays in the task of the one who awaits it, as with `asyncio.timeout`: this runs at each request.

        Args:
            work: what is awaited.
            known: work goes on until this is set: what cannot be named yet cannot be stopped.

        Raises:
            KilledError: it was cancelled. What it started is to be stopped and settled by whoever gets this.
        """
        task = asyncio.current_task()
        assert task is not None, "a coroutine runs in a task"
        one = _Waiting(task=task, known=known, cancelling=task.cancelling())
        self._begin(one)
        try:
            return await work
        except asyncio.CancelledError as exc:
            if one.level is not None and task.cancelling() <= one.cancelling + 1:
                raise kill.refusal(one.level) from exc
            raise
        finally:
            self._waiting.discard(one)
            if one.stopping:
                one.stopping.cancel()
            if one.level is not None:
                task.uncancel()

    async def unless_stopped_between(self, steps: AsyncIterator[_Result]) -> AsyncGenerator[_Result, None]:
        """Yield each step; cancel the one that is awaited when the level says stop.

        Raises:
            KilledError: as `unless_stopped`.
        """

        async def following() -> _Result | None:
            return await anext(steps, None)

        while (step := await self.unless_stopped(following())) is not None:
            yield step

    def _begin(self, one: _Waiting) -> None:
        self._waiting.add(one)
        if self._watching is None or self._watching.done():
            self._watching = asyncio.ensure_future(self._watch())

    async def _watch(self) -> None:
        """Look until nobody waits any more. It outlives the last of them by a look, and so is not begun by each."""
        await asyncio.sleep(self._pause_seconds)
        while self._waiting:
            with suppress(GateError):
                level = (await self._policies.config()).kill_level
                if level >= KillLevel.STOP:
                    self._stop(level)
            await asyncio.sleep(self._pause_seconds)

    def _stop(self, level: int) -> None:
        """Stop all who wait, each once, and as soon as what it waits for is known."""
        waiting, self._waiting = self._waiting, set()
        for one in waiting:
            one.stopping = asyncio.ensure_future(_stop_one(one, level))


async def _stop_one(one: _Waiting, level: int) -> None:
    if one.known:
        await one.known.wait()
    one.level = level
    one.task.cancel()
