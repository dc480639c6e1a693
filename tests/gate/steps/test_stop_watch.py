"""Looking, while a call waits, whether its job is to stop."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from types import SimpleNamespace
from typing import Any

import pytest
from msgspec.structs import replace

from gate.domain.job import Job
from gate.errors import JobCancelledError
from gate.money import of_a_wait
from gate.steps.stop_watch import StopWatch
from tests.makers import NOON, make_job
from twohop.cloud.virtual import run_virtual


class Ledger:
    """Counts the looks at its one job."""

    def __init__(self, job: Job, *, slow_seconds: float = 0.0) -> None:
        self.job_now = job
        self.looks = 0
        self._slow_seconds = slow_seconds

    async def job(self, _: str) -> Job:
        self.looks += 1
        await asyncio.sleep(self._slow_seconds)
        return self.job_now


class Policies:
    """Of a service that nobody switches off."""

    async def config(self) -> Any:
        return SimpleNamespace(kill_level=0)


def watch_of(ledger: Ledger) -> StopWatch:
    return StopWatch(policies=Policies(), ledger=ledger, fresh_seconds=10)  # type: ignore[arg-type]


async def seen_of(steps: AsyncIterator[int], *, pause_seconds: float = 0.0) -> list[int]:
    """Return what came until the cancelling."""
    seen: list[int] = []

    async def send() -> None:
        async for step in steps:
            await asyncio.sleep(pause_seconds)
            seen.append(step)

    with pytest.raises(JobCancelledError):
        await send()
    return seen


@pytest.mark.parametrize("seconds", [1, 3, 30, 150, 600])
def test_a_call_never_looks_more_often_than_its_hold_pays_for(seconds: int) -> None:
    """`money.of_a_wait` is what the worst case counts."""

    async def play() -> int:
        job = make_job()
        ledger = Ledger(job)
        await watch_of(ledger).unless_stopped(asyncio.sleep(seconds), job)
        await asyncio.sleep(60)
        return ledger.looks

    looks = run_virtual(play())

    assert looks <= of_a_wait(seconds * 1000).reads
    assert (looks > 0) is (seconds > 2)


@pytest.mark.parametrize("asked_after_seconds", [0, 1, 5, 29, 100])
def test_a_wish_to_cancel_is_seen_within_twelve_seconds(asked_after_seconds: float) -> None:
    """Ten between two looks, and two until the watch comes round."""

    async def play() -> float:
        job, loop = make_job(), asyncio.get_running_loop()
        ledger = Ledger(job)

        async def ask() -> None:
            await asyncio.sleep(asked_after_seconds)
            ledger.job_now = replace(job, cancel_asked_at=NOON)

        asking = asyncio.ensure_future(ask())
        with pytest.raises(JobCancelledError):
            await watch_of(ledger).unless_stopped(asyncio.sleep(1_000), job)
        await asking
        return loop.time()

    assert run_virtual(play()) <= asked_after_seconds + 12


def test_a_stream_of_quick_parts_is_cancelled_although_each_look_outlasts_a_part() -> None:
    """A look belongs to the call and not to the part that is awaited meanwhile."""

    async def play() -> int:
        job = make_job()
        ledger = Ledger(replace(job, cancel_asked_at=NOON), slow_seconds=0.2)

        async def parts() -> Any:
            for number in range(1_000):
                await asyncio.sleep(0.02)
                yield number

        return len(await seen_of(watch_of(ledger).unless_stopped_between(parts(), job)))

    assert 0 < run_virtual(play()) < 250


def test_a_stop_that_comes_while_a_part_is_sent_ends_the_stream_at_the_next_one() -> None:
    """Whoever sends the part is not cancelled in the middle of it."""

    async def play() -> list[int]:
        job = make_job()
        ledger = Ledger(replace(job, cancel_asked_at=NOON))

        async def parts() -> Any:
            yield 1
            yield 2

        return await seen_of(watch_of(ledger).unless_stopped_between(parts(), job), pause_seconds=20)

    assert run_virtual(play()) == [1]


def test_a_call_that_somebody_else_cancels_is_not_told_that_its_caller_did() -> None:
    """A client that goes away is another story, which ends in another settlement."""

    async def play() -> None:
        job = make_job()
        ledger = Ledger(replace(job, cancel_asked_at=NOON))
        known = asyncio.Event()
        call = asyncio.ensure_future(watch_of(ledger).unless_stopped(asyncio.sleep(1_000), job, known=known))
        await asyncio.sleep(30)
        call.cancel()
        with pytest.raises(asyncio.CancelledError):
            await call

    run_virtual(play())


def test_what_cannot_be_named_yet_is_stopped_once_it_can_be() -> None:
    """A job that its provider does not know by a name yet could not be stopped there."""

    async def play() -> float:
        job, loop = make_job(), asyncio.get_running_loop()
        ledger = Ledger(replace(job, cancel_asked_at=NOON))
        known = asyncio.Event()
        loop.call_later(50, known.set)
        with pytest.raises(JobCancelledError):
            await watch_of(ledger).unless_stopped(asyncio.sleep(1_000), job, known=known)
        return loop.time()

    assert run_virtual(play()) == 50
