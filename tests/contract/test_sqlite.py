"""The SQLite ledger keeps the promises of every ledger, and its own: several processes, and no loss at kill -9."""

from __future__ import annotations

import asyncio
import errno
import os
import signal
import sqlite3
import subprocess
import sys
import threading
from collections.abc import AsyncIterator
from contextlib import closing
from pathlib import Path

import pytest

from gate.domain.job import Settlement
from gate.errors import LedgerError
from gate.ledgers.sqlite import SqliteLedger
from gate.ports import Admitted
from tests.contract.document_contract import DocumentStoreContract
from tests.contract.ledger_contract import DAY, DocumentsContract, LedgerContract, hold
from tests.makers import make_job, make_plan


@pytest.fixture
def path(tmp_path: Path) -> str:
    return str(tmp_path / "new" / "ledger.sqlite3")


@pytest.fixture
async def ledger(path: str) -> AsyncIterator[SqliteLedger]:
    ledger = SqliteLedger(path)
    yield ledger
    await ledger.close()


@pytest.fixture
def store(ledger: SqliteLedger) -> SqliteLedger:
    return ledger


@pytest.fixture
def documents(ledger: SqliteLedger) -> SqliteLedger:
    return ledger


class TestSqliteLedger(LedgerContract):
    async def test_two_instances_on_one_file_admit_exactly_the_limit(self, ledger: SqliteLedger, path: str) -> None:
        """As two processes do: the lock is the file's, not the object's."""
        plan = make_plan(requests_per_day=5)
        other = SqliteLedger(path)
        both = [ledger, other]
        jobs = [make_job(plan=plan) for _ in range(60)]

        outcomes = await asyncio.gather(*(hold(both[n % 2], job, plan=plan) for n, job in enumerate(jobs)))

        assert sum(isinstance(outcome, Admitted) for outcome in outcomes) == 5
        await other.close()

    async def test_kill_minus_9_right_after_an_answer_loses_no_count(self, ledger: SqliteLedger, path: str) -> None:
        """What the caller was told stands, whatever happens to the process in the next microsecond."""
        script = Path(__file__).with_name("hold_and_tell.py")
        env = {**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)}
        child = subprocess.Popen([sys.executable, str(script), path], stdout=subprocess.PIPE, env=env, text=True)  # noqa: ASYNC220 - nothing else runs in this loop
        assert child.stdout
        told = [child.stdout.readline().strip() for _ in range(25)]
        child.send_signal(signal.SIGKILL)
        told += child.stdout.read().split()
        child.wait()

        counted = (await ledger.counters("usage/alice"))[*DAY, "requests"]
        assert child.returncode == -signal.SIGKILL
        assert all([await ledger.job(job_id) for job_id in told])
        assert len(told) <= counted <= len(told) + 1

    async def test_a_lock_of_another_process_stalls_nobody_else(self, ledger: SqliteLedger, path: str) -> None:
        """Who is alone is served on the event loop, and waits for others' locks elsewhere."""
        await hold(ledger, first := make_job())
        await ledger.settle(first, Settlement.release(""), at=first.held_at)
        with closing(sqlite3.connect(path, isolation_level=None)) as other:
            other.execute("BEGIN IMMEDIATE")

            holding = asyncio.create_task(hold(ledger, make_job()))
            for _ in range(20):
                await asyncio.sleep(0.005)
            assert not holding.done()
            other.execute("ROLLBACK")

        assert isinstance(await holding, Admitted)

    async def test_a_settlement_that_nobody_follows_reaches_the_disk(
        self, ledger: SqliteLedger, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        """It is answered before, and must not wait there for the next caller."""
        await hold(ledger, job := make_job())
        synced = threading.Event()
        monkeypatch.setattr(os, "fdatasync", lambda _: synced.set())

        await ledger.settle(job, Settlement.release(""), at=job.held_at)

        assert await asyncio.to_thread(synced.wait, 30)

    async def test_a_hold_that_cannot_be_synced_is_not_known_to_stand(
        self, ledger: SqliteLedger, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        """A disk that says no must not let a job run, but for what is covered by what it has."""
        await hold(ledger, make_job())

        def broken(_: int) -> None:
            raise OSError(errno.EIO, "the disk is gone")

        monkeypatch.setattr(os, "fdatasync", broken)

        with pytest.raises(LedgerError, match="the disk is gone"):
            await asyncio.gather(*(hold(ledger, make_job()) for _ in range(5)))

    async def test_a_file_that_cannot_be_written_refuses(self, tmp_path: Path) -> None:
        """No ledger, no spending; and the error is the gate's own."""
        (tmp_path / "file").write_text("not a folder")
        ledger = SqliteLedger(str(tmp_path / "file" / "ledger.sqlite3"))

        with pytest.raises(LedgerError):
            await hold(ledger, make_job())
        await ledger.close()

    async def test_a_file_that_is_something_else_is_left_as_it_is_and_named(self, tmp_path: Path) -> None:
        """Whoever reads the error knows what to do."""
        notes = tmp_path / "notes.txt"
        notes.write_text("Buy milk. " * 50)
        ledger = SqliteLedger(str(notes))

        with pytest.raises(LedgerError, match="SQLITE_PATH names a file that is something else"):
            await hold(ledger, make_job())
        await ledger.close()
        assert notes.read_text() == "Buy milk. " * 50

    async def test_a_closed_ledger_refuses(self, ledger: SqliteLedger) -> None:
        """Rather than hang."""
        await ledger.close()
        await ledger.close()

        with pytest.raises(LedgerError):
            await hold(ledger, make_job())


class TestSqliteDocuments(DocumentsContract, DocumentStoreContract):
    pass


OPENING_AT_ONCE = """
import asyncio, multiprocessing, sys
from gate.ledgers.sqlite import SqliteLedger

async def read(path):
    ledger = SqliteLedger(path)
    await ledger.counters("usage/alice")
    await ledger.close()

def work(folder, together):
    for number in range(60):
        together.wait()
        asyncio.run(read(f"{folder}/{number}.sqlite3"))

context = multiprocessing.get_context("fork")
together = context.Barrier(6)
processes = [context.Process(target=work, args=(sys.argv[1], together)) for _ in range(6)]
for process in processes:
    process.start()
while any(process.is_alive() for process in processes):
    for process in processes:
        process.join(0.05)
        if process.exitcode:
            together.abort()
sys.exit(any(process.exitcode for process in processes))
"""


def test_processes_that_open_a_new_file_at_once_all_get_it(tmp_path: Path) -> None:
    """SQLite waits for nobody who is about to give the same file its journal; the ledger tries again."""
    command = [sys.executable, "-c", OPENING_AT_ONCE, str(tmp_path)]
    env = {**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)}

    opened = subprocess.run(command, env=env, capture_output=True, text=True, check=False, timeout=120)

    assert opened.returncode == 0, opened.stderr
