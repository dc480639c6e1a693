"""The watchdog on a real ledger, with a provider that follows a script."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest

from gate.assembly import Hop1
from gate.bootstrap import make_hop1
from gate.control import Capacity
from gate.domain.job import HandOver, Job, Settlement
from gate.errors import LedgerError, ProviderUnavailableError
from gate.guard.dead_man import WATCH_PATH
from gate.ledgers.sqlite import SqliteLedger
from gate.provider import ProviderHealth
from gate.providers.scripted_control import ScriptedControl
from gate.settings import Settings
from gate.watchroom import make_watchroom
from tests.gate.doubles import WatchedLog, fill
from tests.makers import FakeClock, make_config, make_documents, make_job, make_moves

ENV = {
    "LEDGER": "sqlite",
    "SIGN_IN": "dev",
    "DEV_SIGN_IN_SECRET": "d" * 64,
    "PROVIDER": "local",
    "LOCAL_WORKER_URL": "http://127.0.0.1:9",
    "WORKER_SECRET": "w" * 64,
    "TOKEN_SECRET": "t" * 64,
    "ALERT_EMAIL": "owner@example.com",
}
CONFIG = make_config(budget_microdollars_per_day=10_000, budget_microdollars_per_month=100_000)


@pytest.fixture
async def hop1(tmp_path: Path) -> AsyncIterator[Hop1]:
    settings = Settings.from_env({**ENV, "SQLITE_PATH": str(tmp_path / "ledger.sqlite3")})
    hop1 = make_hop1(settings, clock=FakeClock(), log=WatchedLog())
    assert isinstance(hop1.store, SqliteLedger)
    await fill(hop1.store, make_documents(config=CONFIG))
    yield hop1
    await hop1.close()


def lines(hop1: Hop1, event: str) -> list[dict[str, Any]]:
    assert isinstance(hop1.log, WatchedLog)
    return hop1.log.lines(event)


def pass_minutes(hop1: Hop1, minutes: float) -> None:
    assert isinstance(hop1.clock, FakeClock)
    hop1.clock.advance(minutes=minutes)


async def hold(hop1: Hop1, microdollars: int) -> Any:
    job = make_job(held_microdollars=microdollars, held_at=hop1.clock.now())
    await hop1.store.hold(job, make_moves(job, config=CONFIG))
    return job


async def test_holds_fill_the_budget_alert_and_settling_ends_it(hop1: Hop1) -> None:
    """One message up, one down, on every channel."""
    control = ScriptedControl()
    watchdog = make_watchroom(hop1, control=control).watchdog
    job = await hold(hop1, 9_600)
    for _ in range(3):
        await watchdog.look()
        pass_minutes(hop1, 1)
    await hop1.store.settle(job, Settlement.release("done"), at=hop1.clock.now())
    for _ in range(3):
        await watchdog.look()

    told = [(line["alert"], line["state"]) for line in lines(hop1, "alert.changed")]
    assert told == [("budget_day", "critical"), ("budget_day", "recovered")]
    assert sorted(await hop1.store.collection("mail")) == ["budget_day-1", "budget_day-2"]


async def test_a_provider_that_is_away_does_not_stop_the_look(hop1: Hop1) -> None:
    control = ScriptedControl()
    control.errors.extend([ProviderUnavailableError("away")] * 2)
    watchdog = make_watchroom(hop1, control=control).watchdog
    await hold(hop1, 8_500)

    [message] = await watchdog.look()

    assert message.alert == "budget_day"
    assert len(lines(hop1, "watch.not_asked")) >= 2


async def test_idle_workers_are_told_after_ten_minutes(hop1: Hop1) -> None:
    control = ScriptedControl(now=Capacity(workers_min=1, workers_max=3, idle=1))
    watchdog = make_watchroom(hop1, control=control).watchdog

    told = []
    for _ in range(5):
        told += await watchdog.look()
        pass_minutes(hop1, 5)

    assert [(one.alert, one.state.value) for one in told] == [("idle_workers", "warned")]


async def test_when_a_job_was_tried_again_every_running_one_is_looked_at(
    hop1: Hop1, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The provider's count does not say which it was; once looked at, none is looked at for the same count."""
    counts, visited = [3, 3, 5, 5], list[str]()

    async def health(_: object) -> ProviderHealth:
        return ProviderHealth(ready=True, workers_running=1, jobs_queued=0, jobs_retried=counts.pop(0))

    async def visit(job: Job) -> Job:
        visited.append(job.job_id)
        raise ProviderUnavailableError("away")

    monkeypatch.setattr(type(hop1.provider), "health", health)
    monkeypatch.setattr(hop1.follower, "visit", visit)
    watchdog = make_watchroom(hop1, control=ScriptedControl()).watchdog
    for name in ("waited-for", "one", "other"):
        job = make_job(job_id=name, held_at=hop1.clock.now())
        await hop1.store.hold(job, make_moves(job, config=CONFIG))
        if name != "waited-for":
            later = job.expires_at + timedelta(hours=1)
            where = HandOver(provider_job_id=name, due_at=later, look_at=later, awaited_ms=0)
            await hop1.store.hand_over(job, where)

    looked = []
    for _ in range(4):
        await watchdog.look()
        looked.append(sorted(visited))

    assert looked == [[], [], ["one", "other"], ["one", "other"]]
    assert len(lines(hop1, "watch.job_not_visited")) == 2


async def test_a_hold_that_no_sweep_settled_is_told(hop1: Hop1) -> None:
    await hold(hop1, 10)
    pass_minutes(hop1, 60)

    told = await make_watchroom(hop1, control=ScriptedControl()).watchdog.look()

    assert [one.alert for one in told] == ["holds_overdue"]


async def test_a_memory_that_was_edited_into_none_is_forgotten(hop1: Hop1) -> None:
    await hop1.store.write(WATCH_PATH, {"at": "yesterday"})

    await make_watchroom(hop1, control=ScriptedControl()).watchdog.look()

    assert len(lines(hop1, "watch.forgot")) == 1


async def test_a_ledger_that_cannot_be_read_fails_the_look(hop1: Hop1, monkeypatch: pytest.MonkeyPatch) -> None:
    """The schedule then shows a failed run, and after four of them the dead man's alert comes."""

    async def away(*_: object, **__: object) -> None:
        raise LedgerError("away")

    watchdog = make_watchroom(hop1, control=ScriptedControl()).watchdog
    await watchdog.look()
    before = await hop1.store.read(WATCH_PATH)
    monkeypatch.setattr(hop1.store, "accounts", away)
    pass_minutes(hop1, 5)
    with pytest.raises(LedgerError):
        await watchdog.look()

    assert await hop1.store.read(WATCH_PATH) == before


async def call(hop1: Hop1) -> None:
    """One request of a stranger, who is refused: whoever serves looks for a sign of life."""

    async def receive() -> dict[str, Any]:
        return {"type": "http.disconnect"}

    async def send(_: Any) -> None:
        pass

    scope = {"type": "http", "method": "POST", "path": "/", "headers": [], "query_string": b""}
    await hop1.infer(scope, receive, send)
    await asyncio.gather(*(asyncio.all_tasks() - {asyncio.current_task()}))


async def test_whoever_serves_tells_that_nobody_watches(hop1: Hop1) -> None:
    """A watchdog that does not run cannot say so."""
    watchdog = make_watchroom(hop1, control=ScriptedControl()).watchdog
    await watchdog.look()
    pass_minutes(hop1, 15)
    await call(hop1)
    assert lines(hop1, "alert.changed") == []

    pass_minutes(hop1, 15)
    await call(hop1)
    pass_minutes(hop1, 15)
    await call(hop1)
    await watchdog.look()

    told = [(line["alert"], line["state"]) for line in lines(hop1, "alert.changed")]
    assert told == [("watch_silent", "critical"), ("watch_silent", "recovered")]


async def test_the_sign_of_life_is_one_read_in_ten_minutes(hop1: Hop1, monkeypatch: pytest.MonkeyPatch) -> None:
    """It must not cost a read a call."""
    reads: list[str] = []
    read = hop1.store.read

    async def counted(path: str) -> Any:
        reads.append(path)
        return await read(path)

    monkeypatch.setattr(hop1.store, "read", counted)
    for _ in range(20):
        await call(hop1)
        pass_minutes(hop1, timedelta(seconds=29) / timedelta(minutes=1))

    assert reads.count(WATCH_PATH) == 1


async def test_a_gate_that_was_never_watched_is_not_silent(hop1: Hop1) -> None:
    """Between the first deployment and the first look there is nothing to tell."""
    await call(hop1)
    assert lines(hop1, "alert.changed") == []
