"""Sees, while calls wait for their jobs, that one is to stop: the kill level went to 5, or its caller cancelled it.

Whoever cancels a job is another call, as a rule on another instance. So it leaves a word in the job's document, and
the call that waits looks there now and then: not before two seconds are over, and so at no cost for most calls.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, AsyncIterator, Callable, Coroutine
from contextlib import suppress
from functools import partial
from typing import Any, TypeVar

import msgspec

from gate.domain import kill
from gate.domain.job import Job
from gate.domain.kill import KillLevel
from gate.errors import GateError, JobCancelledError
from gate.money import MS_PER_LOOK
from gate.ports import Ledger
from gate.steps.policy import Policies

_Result = TypeVar("_Result")
_Reason = Callable[[], GateError]
_LOOKS_PER_PERIOD = 4
_LOOK_SECONDS_FIRST = MS_PER_LOOK / 1000
_LOOK_SECONDS_MAX = 10.0
_LOOK_GROWTH = 1.5


class _Call(msgspec.Struct, kw_only=True, eq=False):
    """One that waits for a job, once or again and again."""

    job_id: str
    known: asyncio.Event | None
    look_at: float
    pause_seconds: float
    looking: asyncio.Task[None] | None = None
    stopping: asyncio.Task[None] | None = None
    reason: _Reason | None = None
    """Why it was stopped, once it was."""
    waiting: asyncio.Task[Any] | None = None
    """Who waits right now."""
    is_cancelled: bool = False

    async def wait(self, work: Coroutine[Any, Any, _Result]) -> _Result:
        """Await work in the task of whoever calls, as with `asyncio.timeout`: this runs at each request."""
        if self.stopping and self.stopping.done():
            work.close()
            raise self._error()
        task = self.waiting = asyncio.current_task()
        assert task is not None, "a coroutine runs in a task"
        before = task.cancelling()
        try:
            return await work
        except asyncio.CancelledError as exc:
            if self.is_cancelled and task.cancelling() <= before + 1:
                raise self._error() from exc
            raise
        finally:
            self.waiting = None
            if self.is_cancelled:
                self.is_cancelled = False
                task.uncancel()

    def _error(self) -> GateError:
        assert self.reason is not None, "it was stopped for a reason"
        return self.reason()

    def stop(self, reason: _Reason) -> None:
        """Stop it, once, and as soon as what it waits for is known."""
        if self.stopping is None:
            self.stopping = asyncio.ensure_future(self._stop(reason))

    async def _stop(self, reason: _Reason) -> None:
        if self.known:
            await self.known.wait()
        self.reason = reason
        if self.waiting:
            self.is_cancelled = True
            self.waiting.cancel()


class StopWatch:
    """Looks at the level, and at each job that is waited for, as long as anybody waits.

    Args:
        policies: which know the level, and read it again when it is older than `fresh_seconds`.
        ledger: where a caller's wish to cancel is noted.
        fresh_seconds: the level is seen a quarter of this later than another read would see it, at most.
    """

    def __init__(self, *, policies: Policies, ledger: Ledger, fresh_seconds: float) -> None:
        self._policies = policies
        self._ledger = ledger
        self._pause_seconds = min(max(fresh_seconds / _LOOKS_PER_PERIOD, 0.05), _LOOK_SECONDS_FIRST)
        self._watching: asyncio.Task[None] | None = None
        self._calls: dict[_Call, None] = {}
        """In the order in which they came. A set's is chance, and a drive of the same seed is the same drive."""

    async def unless_stopped(
        self, work: Coroutine[Any, Any, _Result], job: Job, *, known: asyncio.Event | None = None
    ) -> _Result:
        """Await work; cancel it when its job is to stop.

        Args:
            work: what is awaited.
            job: what it is done for.
            known: work goes on until this is set: what cannot be named yet cannot be stopped.

        Raises:
            KilledError, JobCancelledError: it was cancelled. What it started is to be stopped and settled by whoever
                gets this.
        """
        call = self._begin(job, known)
        try:
            return await call.wait(work)
        finally:
            self._end(call)

    async def unless_stopped_between(self, steps: AsyncIterator[_Result], job: Job) -> AsyncGenerator[_Result, None]:
        """Yield each step; cancel the one that is awaited when the job is to stop.

        Raises:
            KilledError, JobCancelledError: as `unless_stopped`.
        """

        async def following() -> _Result | None:
            return await anext(steps, None)

        call = self._begin(job)
        try:
            while (step := await call.wait(following())) is not None:
                yield step
        finally:
            self._end(call)

    def _begin(self, job: Job, known: asyncio.Event | None = None) -> _Call:
        loop, pause = asyncio.get_running_loop(), _LOOK_SECONDS_FIRST
        call = _Call(job_id=job.job_id, known=known, look_at=loop.time() + pause, pause_seconds=pause)
        self._calls[call] = None
        if self._watching is None or self._watching.done():
            self._watching = loop.create_task(self._watch())
        return call

    def _end(self, call: _Call) -> None:
        self._calls.pop(call, None)
        for helper in (call.looking, call.stopping):
            if helper:
                helper.cancel()

    async def _watch(self) -> None:
        """Look until nobody waits any more. It outlives the last of them by a look, and so is not begun by each."""
        await asyncio.sleep(self._pause_seconds)
        while self._calls:
            self._look_at_jobs()
            await self._look_at_the_level()
            await asyncio.sleep(self._pause_seconds)

    def _look_at_jobs(self) -> None:
        """Look at those that are due. A look that takes its time holds up nobody else."""
        loop = asyncio.get_running_loop()
        for call in self._calls:
            if call.look_at <= loop.time() and (call.looking is None or call.looking.done()):
                call.looking = loop.create_task(self._look_at(call))

    async def _look_at_the_level(self) -> None:
        with suppress(GateError):
            level = (await self._policies.config()).kill_level
            if level >= KillLevel.STOP:
                for call in self._calls:
                    call.stop(partial(kill.refusal, level))

    async def _look_at(self, call: _Call) -> None:
        call.pause_seconds = min(call.pause_seconds * _LOOK_GROWTH, _LOOK_SECONDS_MAX)
        call.look_at += call.pause_seconds
        with suppress(GateError):
            job = await self._ledger.job(call.job_id)
            if job and job.cancel_asked_at:
                call.stop(partial(JobCancelledError, "its caller cancelled it"))
