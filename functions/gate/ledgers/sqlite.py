"""The ledger of one machine: a SQLite file, safe for several processes, durable when an answer is given."""

from __future__ import annotations

import sqlite3
from collections.abc import Mapping, Sequence
from dataclasses import replace
from datetime import datetime
from typing import Any

import msgspec

from gate import meter
from gate.errors import JobNotFoundError, UnauthenticatedError
from gate.job import Job, JobState, Settlement
from gate.ledgers.group_commit import GroupCommit
from gate.meter import Key, Move
from gate.ports import Admitted, Denied, Repeated

_SCHEMA = """
CREATE TABLE IF NOT EXISTS counters (
    account TEXT NOT NULL, counter TEXT NOT NULL, value INTEGER NOT NULL, PRIMARY KEY (account, counter)
) WITHOUT ROWID;
CREATE TABLE IF NOT EXISTS jobs (
    job_id TEXT PRIMARY KEY, caller TEXT NOT NULL, state TEXT NOT NULL,
    held_us INTEGER NOT NULL, expires_us INTEGER NOT NULL, job TEXT NOT NULL
) WITHOUT ROWID;
CREATE INDEX IF NOT EXISTS jobs_by_time ON jobs (held_us);
CREATE INDEX IF NOT EXISTS jobs_by_caller ON jobs (caller, held_us);
CREATE INDEX IF NOT EXISTS jobs_held ON jobs (expires_us) WHERE state = 'held';
CREATE TABLE IF NOT EXISTS documents (path TEXT PRIMARY KEY, document TEXT NOT NULL) WITHOUT ROWID;
"""

_MOVE = """
INSERT INTO counters (account, counter, value) VALUES (:account, :counter, :floor + :amount)
ON CONFLICT DO UPDATE SET value = max(value, :lift) + :amount RETURNING value
"""

_TOUCH = "UPDATE documents SET document = json_set(document, '$.last_used_at', :at) WHERE path = :path"

_LOWEST = -(2**62)
"""Below any counter: lifting to this lifts nothing."""


class SqliteLedger:
    """A `Ledger`, and the `Documents` beside it, in one file."""

    def __init__(self, path: str) -> None:
        self._file = GroupCommit(path, _SCHEMA)

    async def hold(
        self, job: Job, moves: Sequence[Move], *, require: Sequence[str] = ()
    ) -> Admitted | Denied | Repeated:
        """See `Ledger.hold`."""
        return await self._file.run(lambda connection: _hold(connection, job, moves, require))

    async def settle(self, job: Job, settlement: Settlement, *, at: datetime) -> Job:
        """See `Ledger.settle`."""
        return await self._file.run(lambda connection: _settle(connection, job.job_id, settlement, at))

    async def job(self, job_id: str) -> Job | None:
        """See `Ledger.job`."""
        return await self._file.run(lambda connection: _job(connection, job_id))

    async def jobs(self, *, caller: str | None = None, limit: int = 100) -> list[Job]:
        """See `Ledger.jobs`."""
        where, values = ("WHERE caller = ?", (caller,)) if caller is not None else ("", ())
        return await self._select(f"{where} ORDER BY held_us DESC, job_id LIMIT ?", (*values, limit))

    async def expired(self, *, now: datetime, limit: int = 100) -> list[Job]:
        """See `Ledger.expired`."""
        return await self._select(
            "WHERE state = 'held' AND expires_us <= ? ORDER BY expires_us LIMIT ?",
            (meter.to_microseconds(now), limit),
        )

    async def counters(self, account: str) -> Mapping[tuple[str, ...], int]:
        """See `Ledger.counters`."""
        query = "SELECT counter, value FROM counters WHERE account = ?"
        rows = await self._file.run(lambda connection: connection.execute(query, (account,)).fetchall())
        return {_path(counter): value for counter, value in rows}

    async def accounts(self, prefix: str, *, limit: int = 1000) -> list[str]:
        """See `Ledger.accounts`."""
        query = """SELECT DISTINCT account FROM counters WHERE substr(account, 1, length(:prefix)) = :prefix
                   ORDER BY account LIMIT :limit"""
        values = {"prefix": prefix, "limit": limit}
        rows = await self._file.run(lambda connection: connection.execute(query, values).fetchall())
        return [account for (account,) in rows]

    async def read(self, path: str) -> dict[str, Any] | None:
        """See `Documents.read`."""
        return await self._file.run(lambda connection: _document(connection, path))

    async def write(self, path: str, document: Mapping[str, Any]) -> None:
        """See `Documents.write`."""
        await self._file.run(lambda connection: _write(connection, path, document))

    async def swap(self, path: str, *, old: Mapping[str, Any] | None, new: Mapping[str, Any]) -> bool:
        """See `Documents.swap`."""
        return await self._file.run(lambda connection: _swap(connection, path, old, new))

    async def collection(self, name: str) -> dict[str, dict[str, Any]]:
        """See `Documents.collection`."""
        query = "SELECT path, document FROM documents WHERE substr(path, 1, length(:under)) = :under ORDER BY path"
        values = {"under": f"{name}/"}
        rows = await self._file.run(lambda connection: connection.execute(query, values).fetchall())
        return {path.removeprefix(f"{name}/"): msgspec.json.decode(document) for path, document in rows}

    async def create(self, path: str, document: Mapping[str, Any]) -> bool:
        """See `DocumentStore.create`."""
        return await self._changed("INSERT OR IGNORE INTO documents VALUES (:path, :fields)", path, document)

    async def update(self, path: str, fields: Mapping[str, Any]) -> bool:
        """See `DocumentStore.update`."""
        query = "UPDATE documents SET document = json_patch(document, :fields) WHERE path = :path"
        return await self._changed(query, path, fields)

    async def delete(self, path: str) -> bool:
        """See `DocumentStore.delete`."""
        return await self._changed("DELETE FROM documents WHERE path = :path", path, {})

    async def find(self, collection: str, field: str, value: str, *, limit: int = 1000) -> dict[str, dict[str, Any]]:
        """See `DocumentStore.find`."""
        query = """SELECT path, document FROM documents WHERE substr(path, 1, length(:under)) = :under
                   AND json_extract(document, '$.' || :field) = :value ORDER BY path LIMIT :limit"""
        values = {"under": f"{collection}/", "field": field, "value": value, "limit": limit}
        rows = await self._file.run(lambda connection: connection.execute(query, values).fetchall())
        return {path.removeprefix(f"{collection}/"): msgspec.json.decode(document) for path, document in rows}

    async def close(self) -> None:
        """See `Ledger.close`."""
        await self._file.close()

    async def _changed(self, query: str, path: str, fields: Mapping[str, Any]) -> bool:
        values = {"path": path, "fields": msgspec.json.encode(dict(fields)).decode()}
        return await self._file.run(lambda connection: connection.execute(query, values).rowcount > 0)

    async def _select(self, rest: str, values: tuple[object, ...]) -> list[Job]:
        query = f"SELECT job FROM jobs {rest}"  # noqa: S608 - `rest` is a constant of this file
        rows = await self._file.run(lambda connection: connection.execute(query, values).fetchall())
        return [_decode(row) for row in rows]


def _hold(
    connection: sqlite3.Connection, job: Job, moves: Sequence[Move], require: Sequence[str]
) -> Admitted | Denied | Repeated:
    for path in require:
        _demand(connection, path)
    existing = _job(connection, job.job_id)
    if existing:
        return Repeated(job=existing)
    held = replace(job, version=JobState.HELD.value)
    connection.execute("SAVEPOINT hold")
    for path in require:
        connection.execute(_TOUCH, {"path": path, "at": job.held_at.isoformat()})
    sums = _apply(connection, moves)
    denial = meter.decide(moves, sums, now=job.held_at)
    if denial:
        connection.execute("ROLLBACK TO hold")
    else:
        _store(connection, held)
    connection.execute("RELEASE hold")
    return Denied(denial=denial) if denial else Admitted(job=held, sums=sums)


def _demand(connection: sqlite3.Connection, path: str) -> None:
    if not connection.execute("SELECT 1 FROM documents WHERE path = ?", (path,)).fetchone():
        raise UnauthenticatedError(f"{path} is there no more")


def _settle(connection: sqlite3.Connection, job_id: str, settlement: Settlement, at: datetime) -> Job:
    job = _job(connection, job_id)
    if job is None:
        raise JobNotFoundError(f"no job {job_id}")
    if job.state.final:
        return job
    done = replace(job.settled(settlement, at=at), version=settlement.state.value)
    _apply(connection, meter.moves_to_settle(job, settlement))
    _store(connection, done)
    return done


def _apply(connection: sqlite3.Connection, moves: Sequence[Move]) -> dict[Key, int]:
    return {move.key: _move(connection, move) for move in moves}


def _move(connection: sqlite3.Connection, move: Move) -> int:
    lift = _LOWEST if move.at_least is None else move.at_least
    values = {
        "account": move.account,
        "counter": "\0".join(move.counter),
        "amount": move.amount,
        "floor": max(lift, 0),
        "lift": lift,
    }
    return int(connection.execute(_MOVE, values).fetchone()[0])


def _job(connection: sqlite3.Connection, job_id: str) -> Job | None:
    row = connection.execute("SELECT job FROM jobs WHERE job_id = ?", (job_id,)).fetchone()
    return _decode(row) if row else None


def _store(connection: sqlite3.Connection, job: Job) -> None:
    times = (meter.to_microseconds(job.held_at), meter.to_microseconds(job.expires_at))
    row = (job.job_id, job.caller, job.state.value, *times, msgspec.json.encode(job).decode())
    connection.execute("INSERT OR REPLACE INTO jobs VALUES (?, ?, ?, ?, ?, ?)", row)


def _document(connection: sqlite3.Connection, path: str) -> dict[str, Any] | None:
    row = connection.execute("SELECT document FROM documents WHERE path = ?", (path,)).fetchone()
    return msgspec.json.decode(row[0], type=dict[str, Any]) if row else None


def _write(connection: sqlite3.Connection, path: str, document: Mapping[str, Any]) -> None:
    query = "INSERT INTO documents VALUES (?, ?) ON CONFLICT DO UPDATE SET document = excluded.document"
    connection.execute(query, (path, msgspec.json.encode(dict(document)).decode()))


def _swap(connection: sqlite3.Connection, path: str, old: Mapping[str, Any] | None, new: Mapping[str, Any]) -> bool:
    if _document(connection, path) != (None if old is None else msgspec.to_builtins(dict(old))):
        return False
    _write(connection, path, new)
    return True


def _decode(row: tuple[str]) -> Job:
    return msgspec.json.decode(row[0], type=Job)


def _path(counter: str) -> tuple[str, ...]:
    return tuple(counter.split("\0"))
