"""Sees within seconds that the kill level went to 5, while calls wait for their jobs."""

from __future__ import annotations

import asyncio
from collections.abc import Coroutine
from contextlib import suppress
from typing import Any, TypeVar

from gate.errors import GateError, ProviderTimeoutError
from gate.kill import KillLevel
from gate.policy import Policies

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
        self._watching: asyncio.Task[None] | None = None
        self._waiting = 0

    async def unless_stopped(self, work: Coroutine[Any, Any, _Result]) -> _Result:
        """Await work; cancel it when the level says stop.

        Raises:
            ProviderTimeoutError: it was cancelled. What it had cost by then is not known.
        """
        task, watching = asyncio.ensure_future(work), self._begin()
        try:
            await asyncio.wait({task, watching}, return_when=asyncio.FIRST_COMPLETED)
            if task.done():
                return task.result()
            task.cancel()
            with suppress(asyncio.CancelledError):
                return await task
            raise ProviderTimeoutError(
                "stopped by the kill level",
                public_message="This service was switched off while your request ran. Try again later.",
            )
        finally:
            task.cancel()
            self._end()

    def _begin(self) -> asyncio.Task[None]:
        self._waiting += 1
        if self._watching is None or self._watching.done():
            self._watching = asyncio.ensure_future(self._watch())
        return self._watching

    def _end(self) -> None:
        self._waiting -= 1
        if not self._waiting and self._watching:
            self._watching.cancel()
            self._watching = None

    async def _watch(self) -> None:
        while True:
            await asyncio.sleep(self._pause_seconds)
            with suppress(GateError):
                if (await self._policies.config()).kill_level >= KillLevel.STOP:
                    return
