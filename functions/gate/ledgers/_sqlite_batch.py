"""Holds and settlements that arrive together: read at once, decided in memory, written at once.

Each statement lets go of Python's lock and waits to have it back, which under load takes longer than the statement.
So their number is per transaction here, and not per job. What was read or written before is remembered, and believed
for as long as SQLite says that no other connection has changed the file since (`PRAGMA data_version`).
"""

from __future__ import annotations

import sqlite3
from collections.abc import Iterable, Iterator, Mapping, Sequence
from datetime import datetime
from functools import cache
from itertools import islice
from typing import Any, TypeVar

import msgspec

from gate.domain import meter, overhead
from gate.domain.job import HandOver, Job, JobState, Settlement
from gate.domain.meter import Key, Move
from gate.errors import JobNotFoundError, UnauthenticatedError
from gate.ledgers._reserve import Reserve
from gate.ledgers.group_commit import Done
from gate.ports import Admitted, Denied, Repeated

_Value = TypeVar("_Value")

_ACCOUNTS_MAX = 20_000
"""Remembered at a time."""

_ROWS_MAX = 64
"""Of one statement. SQLite keeps those for fewer rows prepared as well: one for each number."""
_MOVE = "INSERT INTO counters VALUES (?, ?, ?) ON CONFLICT DO UPDATE SET value = value + excluded.value"
_TOUCH = """
UPDATE documents SET document = json_set(document, '$.last_used_at', touched.at) FROM
(SELECT json_extract(value, '$[0]') AS path, json_extract(value, '$[1]') AS at FROM json_each(?)) AS touched
WHERE documents.path = touched.path
"""


class Hold(msgspec.Struct, frozen=True, kw_only=True):
    """To hold a job, if its sums allow it and the documents that it requires are there."""

    job: Job
    moves: Sequence[Move]
    require: Sequence[str] = ()

    @property
    def job_id(self) -> str:
        """The job's."""
        return self.job.job_id


class Note(msgspec.Struct, frozen=True, kw_only=True):
    """To note where a held job runs."""

    job_id: str
    handover: HandOver


class AskToCancel(msgspec.Struct, frozen=True, kw_only=True):
    """To note that a job's caller wants it stopped."""

    job_id: str
    at: datetime


class Settle(msgspec.Struct, frozen=True, kw_only=True):
    """To end a held or running job."""

    job_id: str
    settlement: Settlement
    at: datetime


Asked = Hold | Note | AskToCancel | Settle
Outcome = Admitted | Denied | Repeated | Job | Exception


class Batches:
    """Runs batches on one connection, inside the transaction that is open there."""

    def __init__(self, reserve: Reserve) -> None:
        self._reserve = reserve
        self._counters: dict[str, dict[tuple[str, ...], int]] = {}
        self._held: dict[str, Job] = {}
        self._version: tuple[int, int] | None = None

    def forget(self) -> None:
        """Believe nothing that was remembered: the transaction was undone."""
        self._version = None

    def synced(self) -> None:
        """See `Together.synced`."""
        self._reserve.synced()

    def not_synced(self) -> None:
        """See `Together.not_synced`."""
        self._reserve.not_synced()

    def close(self, connection: sqlite3.Connection) -> None:
        """See `Together.close`."""
        self._reserve.give_back(connection)

    def is_alone(self, asked: Asked) -> bool:
        """Tell whether no other job is under way that this process held."""
        return not self._held or self._held.keys() == {asked.job_id}

    def run(self, connection: sqlite3.Connection, asked: Sequence[Asked]) -> Done:
        """Do what is asked for, in its order. What waits for the disk is said here, and nowhere else."""
        version = self._check(connection)
        self._count_what_was_lost(connection, asked)
        batch = _Batch(self._counters, self._jobs(connection, asked), self._documents(connection, asked))
        self._read_counters(connection, batch.accounts(asked))
        outcomes = [batch.outcome(one) for one in asked]
        self._write(connection, batch)
        is_safe = self._is_safe(connection, batch)
        self._version = version, connection.total_changes
        return Done(outcomes=outcomes, is_safe=is_safe)

    def _count_what_was_lost(self, connection: sqlite3.Connection, asked: Sequence[Asked]) -> None:
        """Count what a power cut may have taken before the first hold after it is decided on."""
        first = next((one for one in asked if isinstance(one, Hold)), None)
        lost_microdollars = self._reserve.find(connection) if first else 0
        if first and lost_microdollars:
            add(connection, overhead.moves_to_add(lost_microdollars, at=first.job.held_at))
            self._counters.clear()

    def _is_safe(self, connection: sqlite3.Connection, batch: _Batch) -> bool:
        """Tell whether a batch may be answered before it is on the disk.

        A settlement may: if a power cut takes it, its hold is swept in full, which is more than is owed. A hold may
        if the reserve covers it; if not, it brings the reserve to the disk with it.
        """
        for job in batch.held:
            self._reserve.hold(job)
        for job in batch.changed.values():
            if job.state.final:
                self._reserve.settle(job)
        if batch.held and not self._reserve.covers():
            self._reserve.take(connection, hold_microdollars=max(job.held_microdollars for job in batch.held))
            return False
        return not batch.has_notes

    def _check(self, connection: sqlite3.Connection) -> int:
        """Forget everything if anybody else has changed the file; return what tells of the next who does.

        Nobody can while the transaction is open, and what this connection changes itself is in another count.
        """
        (version,) = connection.execute("PRAGMA data_version").fetchone()
        if self._version != (version, connection.total_changes) or len(self._counters) > _ACCOUNTS_MAX:
            self._counters.clear()
            self._held.clear()
            self._reserve.forget()
        return int(version)

    def _jobs(self, connection: sqlite3.Connection, asked: Sequence[Asked]) -> dict[str, Job]:
        ids = {one.job_id for one in asked}
        known = {job_id: self._held[job_id] for job_id in ids if job_id in self._held}
        unknown = ids - known.keys()
        if not unknown:
            return known
        rows = _select(connection, "SELECT job FROM jobs WHERE job_id", unknown)
        return known | {job.job_id: job for job in (msgspec.json.decode(row[0], type=Job) for row in rows)}

    def _documents(self, connection: sqlite3.Connection, asked: Sequence[Asked]) -> set[str]:
        wanted = {path for one in asked if isinstance(one, Hold) for path in one.require}
        if not wanted:
            return set()
        return {path for (path,) in _select(connection, "SELECT path FROM documents WHERE path", wanted)}

    def _read_counters(self, connection: sqlite3.Connection, accounts: set[str]) -> None:
        # One by one: a set less a dictionary's keys would go through all that are remembered.
        unknown = [account for account in accounts if account not in self._counters]
        if not unknown:
            return
        for account in unknown:
            self._counters[account] = {}
        rows = _select(connection, "SELECT account, counter, value FROM counters WHERE account", unknown)
        for account, counter, value in rows:
            self._counters[account][tuple(counter.split("\0"))] = value

    def _write(self, connection: sqlite3.Connection, batch: _Batch) -> None:
        if batch.moved:
            moved = [(account, "\0".join(path), value) for (account, path), value in batch.moved.items()]
            _upsert(connection, "counters", moved, "value = excluded.value")
        if batch.changed:
            changed = [_row(job) for job in batch.changed.values()]
            _upsert(
                connection,
                "jobs",
                changed,
                "state = excluded.state, expires_us = excluded.expires_us, job = excluded.job",
            )
        if batch.touched:
            connection.execute(_TOUCH, (msgspec.json.encode(list(batch.touched.items())).decode(),))
        for job_id, job in batch.changed.items():
            if job.state.final:
                self._held.pop(job_id, None)
            else:
                self._held[job_id] = job


class _Batch:
    """One batch on its way: what it has read, and what it will write."""

    def __init__(
        self, counters: dict[str, dict[tuple[str, ...], int]], jobs: dict[str, Job], documents: set[str]
    ) -> None:
        self._counters = counters
        self._jobs = jobs
        self._documents = documents
        self.moved: dict[Key, int] = {}
        self.changed: dict[str, Job] = {}
        self.touched: dict[str, str] = {}
        self.held: list[Job] = []
        self.has_notes = False

    def accounts(self, asked: Sequence[Asked]) -> set[str]:
        """Return the accounts that the batch may move."""
        held = {move.account for one in asked if isinstance(one, Hold) for move in one.moves}
        # A job that is held in this very batch moves, when it is settled, accounts that its hold has named.
        ending = (self._jobs.get(one.job_id) for one in asked if isinstance(one, Settle))
        return held.union(*(meter.accounts_of(job) for job in ending if job))

    def outcome(self, one: Asked) -> Outcome:
        """Do one thing in memory. What is refused leaves nothing behind."""
        try:
            match one:
                case Hold():
                    return self._hold(one)
                case Note():
                    return self._note(one)
                case AskToCancel():
                    return self._ask_to_cancel(one)
                case Settle():
                    return self._settle(one)
        except Exception as exc:
            return exc

    def _hold(self, asked: Hold) -> Admitted | Denied | Repeated:
        for path in asked.require:
            if path not in self._documents:
                raise UnauthenticatedError(f"{path} is there no more")
        existing = self._jobs.get(asked.job_id)
        if existing:
            return Repeated(job=existing)
        sums = self._sums(asked.moves)
        denial = meter.decide(asked.moves, sums, now=asked.job.held_at)
        if denial:
            return Denied(denial=denial)
        held = msgspec.structs.replace(asked.job, version=JobState.HELD.value)
        self._keep(held, sums)
        self.held.append(held)
        self.touched |= dict.fromkeys(asked.require, asked.job.held_at.isoformat())
        return Admitted(job=held, sums=sums)

    def _note(self, asked: Note) -> Job:
        job = self._existing(asked.job_id)
        if job.state.final:
            return job
        running = msgspec.structs.replace(job.handed_over(asked.handover), version=JobState.RUNNING.value)
        self._keep(running, {})
        self.has_notes = True
        return running

    def _ask_to_cancel(self, asked: AskToCancel) -> Job:
        job = self._existing(asked.job_id)
        if job.state.final or job.cancel_asked_at:
            return job
        marked = msgspec.structs.replace(job, cancel_asked_at=asked.at)
        self._keep(marked, {})
        return marked

    def _settle(self, asked: Settle) -> Job:
        job = self._existing(asked.job_id)
        if job.state.final:
            return job
        done = msgspec.structs.replace(
            job.settled(asked.settlement, at=asked.at), version=asked.settlement.state.value
        )
        self._keep(done, self._sums(meter.moves_to_settle(job, asked.settlement)))
        return done

    def _existing(self, job_id: str) -> Job:
        job = self._jobs.get(job_id)
        if job is None:
            raise JobNotFoundError(f"no job {job_id}")
        return job

    def _sums(self, moves: Sequence[Move]) -> dict[Key, int]:
        """Return each moved counter after the moves."""
        sums: dict[Key, int] = {}
        for move in moves:
            key = account, counter = move.account, move.counter
            if move.at_most is not None:
                sums[key] = min(move.at_most, self._counters[account].get(counter, move.at_most))
                continue
            value = sums[key] if key in sums else self._counters[account].get(counter, 0)
            if move.at_least is not None and value < move.at_least:
                value = move.at_least
            sums[key] = value + move.amount
        return sums

    def _keep(self, job: Job, sums: Mapping[Key, int]) -> None:
        self._jobs[job.job_id] = self.changed[job.job_id] = job
        for (account, counter), value in sums.items():
            self._counters[account][counter] = value
        self.moved |= sums


def add(connection: sqlite3.Connection, moves: Iterable[Move]) -> None:
    """Add to counters, whatever they are."""
    connection.executemany(_MOVE, [(move.account, "\0".join(move.counter), move.amount) for move in moves])


def _row(job: Job) -> tuple[object, ...]:
    times = (meter.to_microseconds(job.held_at), meter.to_microseconds(job.expires_at))
    return (job.job_id, job.caller, job.state.value, *times, msgspec.json.encode(job).decode())


def _select(connection: sqlite3.Connection, what: str, keys: Iterable[str]) -> Iterator[tuple[Any, ...]]:
    """Yield the rows whose key is one of these, by a statement for many of them."""
    for some in _batched(keys):
        places = ",".join("?" * len(some))
        yield from connection.execute(f"{what} IN ({places})", some).fetchall()


def _upsert(connection: sqlite3.Connection, table: str, rows: Iterable[tuple[Any, ...]], change: str) -> None:
    """Write rows, by a statement for many of them."""
    for some in _batched(rows):
        statement = _upsert_of(table, len(some), len(some[0]), change)
        connection.execute(statement, [value for row in some for value in row])


@cache
def _upsert_of(table: str, rows: int, columns: int, change: str) -> str:
    places = ",".join([f"({','.join('?' * columns)})"] * rows)
    return f"INSERT INTO {table} VALUES {places} ON CONFLICT DO UPDATE SET {change}"  # noqa: S608 - of constants


def _batched(values: Iterable[_Value]) -> Iterator[list[_Value]]:
    left = iter(values)
    while some := list(islice(left, _ROWS_MAX)):
        yield some
