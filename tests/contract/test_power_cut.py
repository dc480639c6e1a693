"""The SQLite ledger answers holds before they are on the disk; a power cut costs more than is owed, never less."""

from __future__ import annotations

import asyncio
import random
import shutil
import sqlite3
from collections.abc import AsyncIterator, Callable
from contextlib import closing
from pathlib import Path

import pytest

from gate.domain.job import Job
from gate.domain.overhead import OVERHEAD
from gate.domain.plan import Plan
from gate.errors import LedgerError
from gate.ledgers import group_commit
from gate.ledgers.sqlite import SqliteLedger
from tests.contract.ledger_contract import DAY, MONTH, PERIODS, held, hold, settlement
from tests.contract.power import Disk
from tests.makers import GENEROUS, make_job, make_plan

HELD = 1_000
RESERVE = 4 * HELD
Open = Callable[..., SqliteLedger]


@pytest.fixture
def disk(monkeypatch: pytest.MonkeyPatch) -> Disk:
    # The thread, which syncs when it is time to, would do so at times that no test can know.
    monkeypatch.setattr(group_commit, "_REST_SECONDS", 3600.0)
    return Disk(monkeypatch)


@pytest.fixture
def path(tmp_path: Path) -> str:
    return str(tmp_path / "ledger.sqlite3")


@pytest.fixture
async def opened(path: str) -> AsyncIterator[Open]:
    """Opens ledgers, by default this one before the power cut, and closes them."""
    ledgers: list[SqliteLedger] = []

    def one(of: str = path, *, boot: str | None = "first") -> SqliteLedger:
        ledgers.append(SqliteLedger(of, boot=lambda: boot))
        return ledgers[-1]

    yield one
    await asyncio.gather(*(ledger.close() for ledger in ledgers))


async def held_and_settled(ledger: SqliteLedger, number: int, *, microdollars: int = 120) -> list[Job]:
    jobs = [await held(ledger, held_microdollars=HELD) for _ in range(number)]
    for job in jobs:
        await ledger.settle(job, settlement(microdollars=microdollars), at=job.held_at)
    return jobs


async def counted(ledger: SqliteLedger, counter: str = "microdollars", *, period: tuple[str, ...] = DAY) -> int:
    return (await ledger.counters("budget/0")).get((*period, counter), 0)


async def test_calls_that_come_one_at_a_time_do_not_wait_for_the_disk(opened: Open, disk: Disk) -> None:
    """What a job took is less than was held for it, so the reserve lasts as long as what jobs took is small."""
    ledger = opened()
    await held_and_settled(ledger, 1)
    syncs = disk.syncs

    for _ in range(10):
        await held_and_settled(ledger, 1)

    assert disk.syncs == syncs


async def test_more_than_the_reserve_waits_for_the_disk(opened: Open, disk: Disk) -> None:
    """However many calls wait for their jobs: what a power cut can take of them is bounded."""
    ledger = opened()
    await held_and_settled(ledger, 1)
    syncs = disk.syncs

    seen = []
    for _ in range(10):
        await held(ledger, held_microdollars=HELD)
        seen.append(disk.syncs - syncs)

    assert seen == [0, 0, 0, 0, 1, 1, 1, 1, 1, 2]


async def test_what_a_power_cut_takes_was_counted_beforehand(
    opened: Open, disk: Disk, path: str, tmp_path: Path
) -> None:
    """The jobs ran, and the file knows nothing of them: the reserve is spent, with the first hold after it."""
    before = opened()
    first, *lost = [*await held_and_settled(before, 1), *await held_and_settled(before, 3, microdollars=990)]
    left = disk.cut(path, tmp_path / "after")

    after = opened(left, boot="second")
    await held(after, held_microdollars=HELD)

    assert await after.job(first.job_id)
    assert not any([await after.job(job.job_id) for job in lost])
    assert [await counted(after, OVERHEAD, period=period) for period in (DAY, MONTH)] == [RESERVE] * 2
    assert [await counted(after, period=period) for period in PERIODS] == [HELD + RESERVE + HELD] * 3


@pytest.mark.parametrize("seed", range(60))
async def test_a_power_cut_costs_more_than_is_owed_and_never_less(
    opened: Open, disk: Disk, path: str, tmp_path: Path, seed: int
) -> None:
    """Whatever was held, settled and synced before, by one process or two, and wherever the log breaks off."""
    chance = random.Random(seed)
    ledgers = [opened() for _ in range(chance.choice([1, 2]))]
    owed: dict[Job, int] = {}
    under_way: list[Job] = []
    for _ in range(chance.randrange(1, 40)):
        ledger = chance.choice(ledgers)
        match chance.choice(["hold", "hold", "settle", "settle", "write"]):
            case "hold":
                job = await held(ledger, held_microdollars=chance.choice([0, 10, HELD, 3 * HELD]))
                owed[job] = job.held_microdollars
                under_way.append(job)
            case "settle" if under_way:
                job = under_way.pop(chance.randrange(len(under_way)))
                owed[job] = chance.randint(0, job.held_microdollars)
                await ledger.settle(job, settlement(microdollars=owed[job]), at=job.held_at)
            case _:
                await ledger.write("gate/note", {"seed": seed})
    left = disk.cut(path, tmp_path / "after", luck=chance.choice([0, 0, chance.random(), 1]))

    after = opened(left, boot="second")
    await held(after, held_microdollars=HELD)

    worst = sum(job.held_microdollars for job in owed)
    assert sum(owed.values()) <= await counted(after) - HELD <= worst + 4 * 3 * HELD


@pytest.mark.parametrize("boot", ["second", None])
@pytest.mark.parametrize("plan", [GENEROUS, make_plan(concurrency=0)], ids=["admitted", "denied"])
async def test_what_was_lost_is_counted_once(
    opened: Open, disk: Disk, path: str, tmp_path: Path, boot: str | None, plan: Plan
) -> None:
    """Of several processes that find the file after a power cut, each would else count it, and at each hold."""
    await held_and_settled(opened(), 3)
    left = disk.cut(path, tmp_path / "after")

    after = [opened(left, boot=boot) for _ in range(4)]
    await asyncio.gather(*(hold(ledger, make_job(), plan=plan) for ledger in after))

    assert await counted(after[0], OVERHEAD) == RESERVE


async def test_a_process_that_is_killed_costs_nothing(opened: Open, disk: Disk, path: str, tmp_path: Path) -> None:
    """The system has all that it wrote, so nothing is to be counted as lost."""
    jobs = await held_and_settled(opened(), 5)
    left = disk.cut(path, tmp_path / "after", luck=1)

    after = opened(left, boot="first")
    await held(after, held_microdollars=HELD)

    assert all([await after.job(job.job_id) for job in jobs])
    assert await counted(after) == 5 * 120 + HELD
    assert await counted(after, OVERHEAD) == 0


async def test_a_ledger_that_was_closed_costs_nothing(opened: Open, disk: Disk, path: str) -> None:
    """A machine may be switched off and on as often as anybody likes."""
    before = opened()
    await held_and_settled(before, 5)
    await before.close()

    after = opened(boot="second")
    await held(after, held_microdollars=HELD)

    assert await counted(after, OVERHEAD) == 0


async def test_a_copy_that_is_put_back_on_the_same_machine_costs_nothing(opened: Open, disk: Disk, path: str) -> None:
    """Another process may have had the reserve when it was made; whoever opens it takes it over."""
    await held_and_settled(opened(), 1)
    copy = shutil.copytree(Path(path).parent, Path(path).parent.with_name("copy"))

    after = opened(str(copy / "ledger.sqlite3"))
    await held_and_settled(after, 1)
    syncs = disk.syncs
    await held_and_settled(after, 1)

    assert disk.syncs == syncs
    assert await counted(after, OVERHEAD) == 0


async def test_whoever_has_lost_the_reserve_to_another_process_waits_for_the_disk(opened: Open, disk: Disk) -> None:
    """Two that use the same sum at once would cover twice as much with it."""
    one, other = opened(), opened()
    await held_and_settled(one, 1)
    await held_and_settled(other, 1)
    syncs = disk.syncs

    await held_and_settled(one, 1)

    assert disk.syncs == syncs + 1


async def test_where_nothing_tells_one_boot_from_another_each_hold_waits(opened: Open, disk: Disk) -> None:
    """After a power cut nobody could say that there was one."""
    ledger = opened(boot=None)
    await held_and_settled(ledger, 1)
    syncs = disk.syncs

    await held_and_settled(ledger, 5)

    assert disk.syncs == syncs + 5


async def test_after_a_sync_that_failed_no_hold_is_admitted_until_all_is_written_anew(
    opened: Open, disk: Disk, path: str, tmp_path: Path
) -> None:
    """A system takes for written what it has failed to write; the next sync would succeed, and the hold be lost."""
    ledger = opened()
    await held_and_settled(ledger, 1)
    disk.is_broken = True
    with pytest.raises(LedgerError, match="the disk is gone"):
        await ledger.write("gate/note", {})
    disk.is_broken = False
    with closing(sqlite3.connect(path, isolation_level=None)) as reader:
        reader.execute("BEGIN")
        reader.execute("SELECT * FROM jobs").fetchall()

        with pytest.raises(LedgerError, match="the disk did not take"):
            await held(ledger, held_microdollars=HELD)
    job = await held(ledger, held_microdollars=HELD)

    shutil.copy(path, tmp_path / "file-alone.sqlite3")  # without its log
    assert await opened(str(tmp_path / "file-alone.sqlite3")).job(job.job_id)
