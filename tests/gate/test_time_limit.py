"""One timer for many waits: each ends in its time, and nobody else's does."""

from __future__ import annotations

import asyncio

import pytest

from gate.time_limit import TimeLimit


async def waits(limit: TimeLimit, seconds: float) -> str:
    try:
        with limit.wait():
            await asyncio.sleep(seconds)
    except TimeoutError:
        return "over"
    return "in time"


async def test_a_wait_that_takes_longer_is_over() -> None:
    """And its task is not left as one that is being cancelled."""
    limit = TimeLimit(0.02)

    assert await waits(limit, 30) == "over"

    task = asyncio.current_task()
    assert task is not None
    assert task.cancelling() == 0


async def test_each_of_many_has_its_own_time() -> None:
    """Those that began later end later, and those that are quick are left alone."""
    limit, loop = TimeLimit(0.1), asyncio.get_running_loop()

    async def later(begin: float) -> tuple[str, float]:
        await asyncio.sleep(begin)
        began = loop.time()
        return await waits(limit, 30), loop.time() - began

    quick = [asyncio.ensure_future(waits(limit, 0.001)) for _ in range(50)]
    slow = [asyncio.ensure_future(later(0.02 * number)) for number in range(5)]

    assert await asyncio.gather(*quick) == ["in time"] * 50
    for outcome, seconds in await asyncio.gather(*slow):
        assert outcome == "over"
        assert seconds >= 0.1


async def test_after_a_pause_the_time_begins_anew() -> None:
    """The timer of an earlier wait ends no later one early."""
    limit, loop = TimeLimit(0.05), asyncio.get_running_loop()
    await waits(limit, 0)
    await asyncio.sleep(0.04)
    began = loop.time()

    assert await waits(limit, 30) == "over"
    assert loop.time() - began >= 0.05


async def test_whoever_is_cancelled_by_another_is_cancelled() -> None:
    """That is no time that is over."""
    waiting = asyncio.ensure_future(waits(TimeLimit(30), 30))
    await asyncio.sleep(0)

    waiting.cancel()

    with pytest.raises(asyncio.CancelledError):
        await waiting


def test_another_loop_has_a_timer_of_its_own() -> None:
    """The one of a loop that was closed never rings."""
    limit = TimeLimit(0.02)
    asyncio.run(waits(limit, 0))

    assert asyncio.run(waits(limit, 30)) == "over"
