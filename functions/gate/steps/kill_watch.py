"""Sees within seconds that the kill level went to 5, while calls wait for their jobs."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, AsyncIterator, Coroutine
from contextlib import suppress
from typing import Any, TypeVar

from gate.domain import kill
from gate.domain.kill import KillLevel
from gate.errors import GateError
from gate.steps.policy import Policies

_Result = TypeVar("_Result")
_LOOKS_PER_PERIOD = 4


class KillWatch:
    """Looks at the level as long as anybody waits.

    Args:
        policies: which know the level, and read it again when it is older than `fresh_seconds`.
        fresh_seconds: the level is seen a quarter of this later than another read would see it, at most.
    """

    def __init__(self, *, policies: Policies, fresh_seconds: float) -> None:
        self._policies = policies
        self._pause_seconds = max(fresh_seconds / _LOOKS_PER_PERIOD, 0.05)
        self._watching: asyncio.Task[int] | None = None
        self._waiting = 0

    async def unless_stopped(
        self, work: Coroutine[Any, Any, _Result], *, known: asyncio.Event | None = None
    ) -> _Result:
        """Await work; cancel it when the level says stop.

        Args:
            work: what is awaited.
            known: work goes on until this is set: what cannot be named yet cannot be stopped.

        Raises:
            KilledError: it was cancelled. What it started is to be stopped and settled by whoever gets this.
        """
        task, watching = asyncio.ensure_future(work), self._begin()
        try:
            await asyncio.wait({task, watching}, return_when=asyncio.FIRST_COMPLETED)
            if not task.done() and known:
                await _either(task, known)
            if task.done():
                return task.result()
            task.cancel()
            with suppress(asyncio.CancelledError):
                return await task
            raise kill.refusal(watching.result())
        finally:
            self._end()
            if task.cancel():
                await asyncio.wait({task})

    async def unless_stopped_between(self, steps: AsyncIterator[_Result]) -> AsyncGenerator[_Result, None]:
        """Yield each step; cancel the one that is awaited when the level says stop.

        Raises:
            KilledError: as `unless_stopped`.
        """

        async def following() -> _Result | None:
            return await anext(steps, None)

        while (step := await self.unless_stopped(following())) is not None:
            yield step

    def _begin(self) -> asyncio.Task[int]:
        self._waiting += 1
        if self._watching is None or self._watching.done():
            self._watching = asyncio.ensure_future(self._watch())
        return self._watching

    def _end(self) -> None:
        self._waiting -= 1
        if not self._waiting and self._watching:
            self._watching.cancel()
            self._watching = None

    async def _watch(self) -> int:
        while True:
            await asyncio.sleep(self._pause_seconds)
            with suppress(GateError):
                level = (await self._policies.config()).kill_level
                if level >= KillLevel.STOP:
                    return level


async def _either(task: asyncio.Future[Any], event: asyncio.Event) -> None:
    happening = asyncio.ensure_future(event.wait())
    try:
        await asyncio.wait({task, happening}, return_when=asyncio.FIRST_COMPLETED)
    finally:
        happening.cancel()
