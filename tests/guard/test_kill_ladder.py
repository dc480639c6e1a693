"""The kill ladder: up by itself, down by hand, carried out at the provider and read back there."""

from __future__ import annotations

from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest

from gate.control import Capacity
from gate.domain import meter
from gate.domain.job import HandOver, Job
from gate.domain.plan import STARTER_CONFIG
from gate.errors import ProviderError
from gate.guard import running
from gate.guard.kill_ladder import KILL_PATH, KillLadder
from gate.ports import Admitted
from gate.providers.scripted_control import ScriptedControl
from gate.steps.policy import CONFIG_PATH
from tests.gate.doubles import WatchedLedger, WatchedLog
from tests.makers import GENEROUS, FakeClock, make_config, make_job
from twohop.documents import as_document

CONFIG = as_document(STARTER_CONFIG)


class Billing:
    """A billing account that counts how often it was taken away."""

    def __init__(self) -> None:
        self.detached = 0

    async def detach(self) -> str:
        self.detached += 1
        return "taken away"


class World:
    """A ladder over a SQLite ledger and a scripted provider with two workers."""

    def __init__(self, ledger: WatchedLedger) -> None:
        self.store = ledger
        self.clock = FakeClock()
        self.log = WatchedLog()
        self.control = ScriptedControl(now=Capacity(workers_min=1, workers_max=3, running=2), queued=4)
        self.billing = Billing()
        self.ladder = KillLadder(
            store=ledger, clock=self.clock, log=self.log, control=self.control, billing=self.billing
        )

    async def configure(self, **changes: Any) -> None:
        await self.store.write(CONFIG_PATH, {**CONFIG, **changes})

    async def level(self) -> int:
        return int((await self.store.read(CONFIG_PATH) or {}).get("kill_level", 0))

    async def spend(self, microdollars: int) -> None:
        job = make_job(held_microdollars=microdollars, held_at=self.clock.now())
        held = await self.store.hold(job, meter.moves_to_hold(job, GENEROUS, make_config()))
        assert isinstance(held, Admitted)


@pytest.fixture
async def world(tmp_path: Path) -> AsyncIterator[World]:
    ledger = WatchedLedger(str(tmp_path / "ledger.sqlite3"))
    world = World(ledger)
    await world.configure()
    yield world
    await ledger.close()


async def test_a_change_by_hand_keeps_its_name_and_reason(world: World) -> None:
    """Whoever comes later sees who did what, and why; nothing of it is ever changed again."""
    await world.ladder.set_level(4, name="Ann", reason="a flood")
    world.clock.advance(minutes=5)
    await world.ladder.set_level(0, name="Ben", reason="it is over")

    kept = [(one.before, one.after, one.name, one.reason) for one in await world.ladder.history()]
    assert kept == [(4, 0, "Ben", "it is over"), (0, 4, "Ann", "a flood")]
    assert await world.level() == 0


async def test_an_edit_in_the_console_is_kept_too(world: World) -> None:
    """Nobody gives a name there; that it was an edit is what can be known."""
    await world.configure(kill_level=3)

    await world.ladder.run()
    await world.ladder.run()

    assert [(one.before, one.after, one.name) for one in await world.ladder.history()] == [(0, 3, "edit")]


async def test_a_threshold_sets_the_level_once_and_never_back(world: World) -> None:
    """Up by itself, down by hand: after that, the same threshold of the same day is quiet."""
    await world.configure(budget_microdollars_per_day=1_000, kill_at_percent_of_day={"1": 50, "4": 90})
    await world.spend(899)
    assert await world.ladder.run() == 1
    await world.spend(1)
    world.clock.advance(minutes=1)

    assert await world.ladder.run() == 4
    world.clock.advance(minutes=1)
    await world.ladder.set_level(0, name="Ann", reason="I pay for more")
    assert await world.ladder.run() == 0

    told = [(one.name, one.reason) for one in await world.ladder.history()]
    assert told == [
        ("Ann", "I pay for more"),
        ("threshold", "90 % of the day's budget is used or held (2026-11-21)"),
        ("threshold", "50 % of the day's budget is used or held (2026-11-21)"),
    ]
    assert await world.level() == 0


async def test_a_threshold_never_lowers_what_somebody_set(world: World) -> None:
    """It may only take away."""
    await world.configure(kill_level=4, budget_microdollars_per_day=1_000, kill_at_percent_of_day={"1": 50})
    await world.spend(600)

    assert await world.ladder.run() == 4
    assert await world.level() == 4


async def test_the_next_hour_has_thresholds_of_its_own(world: World) -> None:
    """What was used in one says nothing about the next."""
    await world.configure(budget_microdollars_per_hour=1_000, kill_at_percent_of_hour={"2": 80})
    await world.spend(800)
    assert await world.ladder.run() == 2
    await world.ladder.set_level(0, name="Ann", reason="seen")
    world.clock.advance(hours=1)
    assert await world.ladder.run() == 0
    await world.spend(900)

    assert await world.ladder.run() == 2


async def test_level_5_stops_the_provider_and_believes_what_it_reads_back(world: World) -> None:
    """Lowering the maximum ends no worker at once: it is asked again until none is alive."""
    world.control.ends_after_reads = 2
    await world.ladder.set_level(5, name="Ann", reason="stop")

    await world.ladder.run()
    first = await world.ladder.record()
    await world.ladder.run()
    await world.ladder.run()
    last = await world.ladder.record()

    assert "set_capacity 0 0" in world.control.calls
    assert world.control.queued == 0
    assert (first.workers_alive, last.workers_alive) == (2, 0)
    assert world.log.lines("kill.workers_alive")
    assert world.log.lines("kill.no_workers")


async def test_going_down_gives_the_provider_its_bounds_back(world: World) -> None:
    """Else nobody would be served, and nobody would know why."""
    await world.ladder.set_level(5, name="Ann", reason="stop")
    await world.ladder.run()
    await world.ladder.run()
    await world.ladder.set_level(0, name="Ann", reason="go")

    await world.ladder.run()
    await world.ladder.run()

    assert (world.control.now.workers_min, world.control.now.workers_max) == (1, 3)
    assert world.control.calls.count("set_capacity 1 3") == 1
    assert (await world.ladder.record()).workers_alive is None


async def test_a_provider_that_cannot_be_reached_is_tried_again_by_the_next_run(world: World) -> None:
    """A level that is not carried out is a line in the log, each time."""
    world.control.errors.append(ProviderError("away"))
    await world.ladder.set_level(6, name="Ann", reason="stop")

    await world.ladder.run()
    assert world.billing.detached == 1
    assert world.control.now.workers_max == 3
    await world.ladder.run()

    assert world.control.now.workers_max == 0
    assert [line["step"] for line in world.log.lines("kill.not_carried_out")] == ["stop_workers"]


async def test_billing_is_left_alone_below_level_6(world: World) -> None:
    """It stops everything, this ladder too."""
    await world.ladder.set_level(5, name="Ann", reason="stop")

    await world.ladder.run()

    assert world.billing.detached == 0
    assert (await world.store.read(KILL_PATH) or {})["level"] == 5


async def test_every_running_job_is_cancelled_however_many_there_are(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The newest ones are not all; those that a call waits for are left to it."""
    monkeypatch.setattr(running, "_JOBS_FIRST", 2)
    now, stopped = world.clock.now(), list[str]()
    for number in range(7):
        job = make_job(job_id=f"{number:064x}", held_at=now)
        held = await world.store.hold(job, meter.moves_to_hold(job, GENEROUS, make_config()))
        assert isinstance(held, Admitted)
        if number:
            where = HandOver(provider_job_id=f"remote-{number}", due_at=now, look_at=now, awaited_ms=0)
            await world.store.hand_over(held.job, where)

    async def stop(job: Job) -> Job:
        stopped.append(job.provider_job_id or "")
        return job

    ladder = KillLadder(store=world.store, clock=world.clock, log=world.log, stop=stop)
    await ladder.set_level(5, name="Ann", reason="stop")

    await ladder.run()

    assert sorted(stopped) == [f"remote-{number}" for number in range(1, 7)]
