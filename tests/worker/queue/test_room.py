"""A worker takes what it can answer soon: many short jobs, few long ones, and long ones side by side if that pays."""

from __future__ import annotations

import asyncio
import heapq

import pytest

from tests.worker.makers import FakeClock
from worker.queue.room import Room, Stay


def depth_after(jobs: int, *, own_ms: int, shared_ms: int, jobs_max: int = 32, soon_ms: int = 500) -> int:
    """Return how many jobs a worker holds that never runs out of them.

    Args:
        jobs: how many it answers before that is asked.
        own_ms: what each job takes for itself, whoever else is there.
        shared_ms: what each takes of the engine, one after another.
        jobs_max: the most that it may hold.
        soon_ms: what is soon enough.
    """
    clock = FakeClock()
    room = Room(jobs_max=jobs_max, soon_ms=soon_ms, clock=clock)
    ends: list[tuple[int, int, Stay]] = []
    engine_free = deepest = 0
    for number in range(jobs):
        while room.free:
            engine_free = max(engine_free, clock.ms) + shared_ms
            heapq.heappush(ends, (max(engine_free, clock.ms + own_ms), number * 1_000 + len(ends), room.enter()))
        deepest = len(ends)
        clock.ms, _, stay = heapq.heappop(ends)
        room.leave(stay, answered=True)
    return deepest


@pytest.mark.parametrize(
    ("own_ms", "shared_ms", "least", "most"),
    [
        pytest.param(0, 10, 32, 32, id="short jobs, one after another: all it may"),
        pytest.param(0, 50, 5, 12, id="middling jobs: as many as are soon"),
        pytest.param(0, 5_000, 1, 2, id="long jobs, one after another: one runs, one waits"),
        pytest.param(5_000, 10, 32, 32, id="long jobs side by side: all it may"),
    ],
)
def test_it_holds_as_many_as_are_answered_soon(own_ms: int, shared_ms: int, least: int, most: int) -> None:
    assert least <= depth_after(400, own_ms=own_ms, shared_ms=shared_ms) <= most


def test_it_never_holds_more_than_it_may() -> None:
    assert depth_after(400, own_ms=0, shared_ms=1, jobs_max=3) == 3


def test_an_engine_that_is_known_to_batch_is_filled_from_the_start() -> None:
    room = Room(jobs_max=32, jobs_least=8, soon_ms=500, clock=FakeClock())

    assert room.free == 8


async def test_room_is_told_at_once() -> None:
    """Nothing sleeps while a job could be taken."""
    room = Room(jobs_max=1, soon_ms=500, clock=FakeClock())
    stay = room.enter()
    waiting = asyncio.create_task(room.wait_free())
    await asyncio.sleep(0)
    assert not waiting.done()
    room.leave(stay, answered=True)
    for _ in range(3):
        await asyncio.sleep(0)

    assert waiting.result() == 1


def test_a_job_leaves_once() -> None:
    room = Room(jobs_max=4, soon_ms=500, clock=FakeClock())
    stay = room.enter()
    room.leave(stay, answered=True)
    free = room.free
    room.leave(stay, answered=False)

    assert room.free == free
