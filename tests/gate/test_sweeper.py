"""Holds that nobody finished are finished once, in full, and those that may still end are left alone."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest

from gate.domain.job import Job, JobState, Settlement
from gate.errors import LedgerError
from gate.guard.sweeper import Sweeper
from gate.ports import Admitted
from gate.steps.policy import Policies
from tests.gate.doubles import WatchedLedger, WatchedLog, fill
from tests.makers import NOON, FakeClock, make_documents, make_job, make_moves

DAY = ("days", "2026-11-21")
LATER = NOON + timedelta(minutes=6)


class Scene:
    """Sweepers on one ledger, some minutes after the holds were made."""

    def __init__(self, ledger: WatchedLedger) -> None:
        self.ledger = ledger
        self.clock = FakeClock(LATER)
        self.log = WatchedLog()

    def sweeper(self) -> Sweeper:
        policies = Policies(documents=self.ledger, notifier=self.log, clock=self.clock, fresh_seconds=10)
        return Sweeper(ledger=self.ledger, policies=policies, clock=self.clock, log=self.log)

    async def held(self, **changes: Any) -> Job:
        job = make_job(**changes)
        outcome = await self.ledger.hold(job, make_moves(job))
        assert isinstance(outcome, Admitted)
        return outcome.job


@pytest.fixture
async def scene(tmp_path: Path) -> AsyncIterator[Scene]:
    ledger = WatchedLedger(str(tmp_path / "ledger.sqlite3"))
    yield Scene(ledger)
    await ledger.close()


async def test_an_expired_hold_is_settled_in_full(scene: Scene) -> None:
    """It may have run: the ledger may say too much, never too little."""
    job = await scene.held(held_microdollars=700)

    assert await scene.sweeper().sweep() == 1

    done = await scene.ledger.job(job.job_id)
    counters = await scene.ledger.counters("usage/alice")
    assert done
    assert (done.state, done.settled_microdollars, done.finished_at) == (JobState.EXPIRED, 700, LATER)
    assert counters[*DAY, "microdollars"] == 700
    assert counters["in_flight",] == 0


async def test_a_fresh_hold_is_left_alone(scene: Scene) -> None:
    """It may end by itself; up to its expiry it is not the sweeper's business."""
    await scene.held(expires_at=LATER + timedelta(microseconds=1))

    assert await scene.sweeper().sweep() == 0
    assert (await scene.ledger.counters("usage/alice"))["in_flight",] == 1


async def test_a_job_that_ended_is_left_as_it_ended(scene: Scene) -> None:
    """Nothing leaves a final state."""
    job = await scene.held()
    done = await scene.ledger.settle(job, Settlement.release("no worker"), at=NOON)

    assert await scene.sweeper().sweep() == 0
    assert await scene.ledger.job(job.job_id) == done


async def test_sweeping_twice_does_it_once(scene: Scene) -> None:
    """It runs every few minutes."""
    await scene.held()

    assert [await scene.sweeper().sweep() for _ in range(3)] == [1, 0, 0]
    assert (await scene.ledger.counters("usage/alice"))[*DAY, "microdollars"] == 1_000


async def test_two_sweepers_at_once_settle_each_hold_once(scene: Scene) -> None:
    """Two instances may run at the same time."""
    for _ in range(30):
        await scene.held()

    await asyncio.gather(*(scene.sweeper().sweep() for _ in range(2)))

    counters = await scene.ledger.counters("usage/alice")
    assert (counters[*DAY, "microdollars"], counters["in_flight",]) == (30_000, 0)
    assert (await scene.ledger.counters("budget/0"))["in_flight",] == 0


async def test_more_holds_than_one_page_are_all_swept(scene: Scene) -> None:
    """After an outage there may be many."""
    for _ in range(205):
        await scene.held()

    assert await scene.sweeper().sweep() == 205


async def test_an_answer_that_comes_while_sweeping_stands(scene: Scene) -> None:
    """Whoever is first decides, and the sweeper does not claim it."""
    job = await scene.held()
    settle = scene.ledger.settle

    async def slow_settle(*arguments: Any, **options: Any) -> Job:
        scene.ledger.settle = settle  # type: ignore[method-assign]  # only the first is late
        await settle(job, Settlement(state=JobState.SETTLED, microdollars=5, gpu_ms=5), at=NOON)
        return await settle(*arguments, **options)

    scene.ledger.settle = slow_settle  # type: ignore[method-assign]  # the answer overtakes the sweeper

    assert await scene.sweeper().sweep() == 0
    assert (await scene.ledger.counters("usage/alice"))[*DAY, "microdollars"] == 5
    assert scene.log.lines("job.swept") == []


async def test_a_hold_that_cannot_be_settled_does_not_stop_the_others(scene: Scene) -> None:
    """The oldest comes first each time, so one bad job would keep all later ones held for ever."""
    bad, *_ = [await scene.held() for _ in range(3)]
    settle = scene.ledger.settle

    async def fails_for_one(job: Job, *arguments: Any, **options: Any) -> Job:
        if job.job_id == bad.job_id:
            raise LedgerError("this one is malformed")
        return await settle(job, *arguments, **options)

    scene.ledger.settle = fails_for_one  # type: ignore[method-assign]  # one of its documents was edited by hand

    assert await scene.sweeper().sweep() == 2
    assert {line["job_id"] for line in scene.log.lines("job.not_swept")} == {bad.job_id}


async def test_a_ledger_that_cannot_settle_anything_ends_the_sweep(scene: Scene) -> None:
    """What is left comes again at the next run; this one must not go round for ever."""
    await scene.held()
    scene.ledger.settle_errors = [LedgerError("away")] * 100

    assert await scene.sweeper().sweep() == 0


async def test_a_swept_hold_is_reported(scene: Scene) -> None:
    """Many of them are a sign that hop 1 dies on the way."""
    job = await scene.held()
    await scene.sweeper().sweep()

    [line] = scene.log.lines("job.swept")
    assert (line["severity"], line["job_id"], line["settled_microdollars"]) == ("WARNING", job.job_id, 1_000)


async def test_sweeping_keeps_copies_of_the_owners_good_documents(scene: Scene) -> None:
    """For instances that start after a bad edit."""
    documents = make_documents()
    await fill(scene.ledger, documents)
    await scene.sweeper().sweep()

    assert await scene.ledger.read("last_good/plans.free") == documents["plans/free"]
    assert await scene.ledger.read("last_good/gate.config") == documents["gate/config"]


async def test_documents_that_cannot_be_kept_do_not_undo_the_sweep(
    scene: Scene, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Money first."""

    async def fails(_: str) -> None:
        raise LedgerError("away")

    await scene.held()
    monkeypatch.setattr(scene.ledger, "collection", fails)

    assert await scene.sweeper().sweep() == 1
    assert len(scene.log.lines("policy.not_kept")) == 1
