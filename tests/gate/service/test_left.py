"""A caller who goes away leaves no hold behind, and pays for no more than was used."""

from __future__ import annotations

import asyncio
import sqlite3
from collections.abc import Awaitable, Callable
from functools import partial
from pathlib import Path
from typing import Any

from gate.domain.job import JobState
from gate.ledgers.sqlite import SqliteLedger
from tests.gate.world import DAY, HELD, World


class Slow:
    """A method of the ledger that begins, and goes on once it is told to."""

    def __init__(self, method: Callable[..., Awaitable[Any]]) -> None:
        self._method = method
        self.begun, self.go_on, self.ended = asyncio.Event(), asyncio.Event(), asyncio.Event()

    async def __call__(self, *arguments: Any, **options: Any) -> Any:
        self.begun.set()
        await self.go_on.wait()
        done = await self._method(*arguments, **options)
        self.ended.set()
        return done


class TestACallerWhoGoesAway:
    async def test_while_it_is_held_pays_nothing(self, world: World) -> None:
        """It was never sent, so the hold is released as soon as it is known to stand."""
        hold, settle = Slow(world.ledger.hold), Slow(world.ledger.settle)
        world.ledger.hold = hold  # type: ignore[method-assign]  # this test's ledger takes its time
        world.ledger.settle = settle  # type: ignore[method-assign]  # and tells when it is done
        asking = asyncio.ensure_future(world.infer())
        await hold.begun.wait()
        asking.cancel()
        await asyncio.gather(asking, return_exceptions=True)
        hold.go_on.set()
        settle.go_on.set()
        await settle.ended.wait()

        assert (await world.the_job()).state is JobState.RELEASED
        assert await world.counter(*DAY, "requests") == 0
        assert await world.counter("in_flight") == 0
        assert world.provider.orders == []

    async def test_by_the_dozen_while_the_file_is_locked_pays_nothing(self, world: World, tmp_path: Path) -> None:
        """Where no task goes on with a hold but the ledger's own thread."""
        unwatched = partial(SqliteLedger.hold, world.ledger)
        world.ledger.hold = unwatched  # type: ignore[method-assign, assignment]  # it makes a task of each hold
        await world.infer()
        other = sqlite3.connect(tmp_path / "ledger.sqlite3", isolation_level=None)
        other.execute("BEGIN IMMEDIATE")
        asking = [asyncio.ensure_future(world.infer()) for _ in range(12)]
        await asyncio.sleep(0.01)
        for one in asking:
            one.cancel()
        await asyncio.gather(*asking, return_exceptions=True)
        other.execute("COMMIT")
        other.close()

        await asyncio.gather(*world.gate._settling._detached)
        states = [job.state for job in await world.ledger.jobs()]
        assert sorted(states) == [JobState.RELEASED] * 12 + [JobState.SETTLED]
        assert await world.counter("in_flight") == 0
        assert len(world.provider.orders) == 1

    async def test_while_it_runs_leaves_a_hold_that_is_swept(self, world: World) -> None:
        """Whether it ran on is not known, so it pays the hold."""
        world.provider.let_go.clear()
        asking = asyncio.ensure_future(world.infer())
        await world.provider.handed_over.wait()
        asking.cancel()
        await asyncio.gather(asking, return_exceptions=True)
        assert (await world.the_job()).state is JobState.HELD
        world.clock.advance(minutes=10)

        assert await world.sweeper().sweep() == 1
        assert (await world.the_job()).settled_microdollars == HELD

    async def test_while_it_is_settled_changes_nothing_about_it(self, world: World) -> None:
        """The settlement goes on without them."""
        settle = Slow(world.ledger.settle)
        world.ledger.settle = settle  # type: ignore[method-assign]  # this test's ledger takes its time
        asking = asyncio.ensure_future(world.infer())
        await settle.begun.wait()
        asking.cancel()
        await asyncio.gather(asking, return_exceptions=True)
        settle.go_on.set()
        await settle.ended.wait()

        assert await world.counter(*DAY, "microdollars") == 1_127

    async def test_after_joining_does_not_take_along_who_runs_it(self, world: World) -> None:
        """The one that holds the job goes on."""
        world.provider.let_go.clear()
        first = asyncio.ensure_future(world.infer(idempotency_key="k"))
        await world.provider.handed_over.wait()
        second = asyncio.ensure_future(world.infer(idempotency_key="k"))
        await world.ledger.job_read.wait()
        second.cancel()
        world.provider.let_go.set()

        assert (await first).job.state is JobState.SETTLED
