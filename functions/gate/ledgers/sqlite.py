"""The ledger of one machine: a SQLite file, safe for several processes, durable when an answer is given.

What was answered survives the process. It survives a power cut as well, or costs more than is owed: before its job
runs, a hold is on the disk or within a reserve that is (`_reserve`). A settlement is on the disk a moment after its
answer; a power cut in that moment leaves the hold, which is swept in full.
"""

from __future__ import annotations

import sqlite3
from collections.abc import Awaitable, Callable, Mapping, Sequence
from datetime import datetime
from typing import Any

import msgspec

from gate.domain import meter
from gate.domain.job import HandOver, Job, Settlement
from gate.domain.lending import Shards
from gate.domain.meter import Move
from gate.ledgers import _reserve
from gate.ledgers._reserve import Reserve, this_boot
from gate.ledgers._sqlite_batch import AskToCancel, Batches, Hold, Note, Settle, add
from gate.ledgers.group_commit import GroupCommit
from gate.ports import Admitted, Denied, Repeated

_SCHEMA = """
CREATE TABLE IF NOT EXISTS counters (
    account TEXT NOT NULL, counter TEXT NOT NULL, value INTEGER NOT NULL, PRIMARY KEY (account, counter)
) WITHOUT ROWID;
-- Lies in the order of coming: by their ids, rows of a kilobyte would each change another page, and spill over.
CREATE TABLE IF NOT EXISTS jobs (
    job_id TEXT PRIMARY KEY, caller TEXT NOT NULL, state TEXT NOT NULL,
    held_us INTEGER NOT NULL, expires_us INTEGER NOT NULL, job TEXT NOT NULL
);
CREATE INDEX IF NOT EXISTS jobs_by_time ON jobs (held_us);
CREATE INDEX IF NOT EXISTS jobs_by_caller ON jobs (caller, held_us);
CREATE INDEX IF NOT EXISTS jobs_unfinished ON jobs (expires_us) WHERE state IN ('held', 'running');
CREATE TABLE IF NOT EXISTS documents (path TEXT PRIMARY KEY, document TEXT NOT NULL) WITHOUT ROWID;
"""


class SqliteLedger:
    """A `Ledger`, and the `Documents` beside it, in one file.

    Args:
        path: of the file; it is made if there is none.
        boot: tells this run of the machine from any other; where it cannot, each hold waits for the disk.
    """

    def __init__(self, path: str, *, boot: Callable[[], str | None] = this_boot) -> None:
        self._file = GroupCommit(path, _SCHEMA + _reserve.SCHEMA, Batches(Reserve(boot())))

    def hold(
        self, job: Job, moves: Sequence[Move], *, require: Sequence[str] = ()
    ) -> Awaitable[Admitted | Denied | Repeated]:
        """See `Ledger.hold`. It is done at once or by the file's thread, and needs no task."""
        return self._file.ask(Hold(job=job, moves=moves, require=require))

    def settle(self, job: Job, settlement: Settlement, *, at: datetime) -> Awaitable[Job]:
        """See `Ledger.settle`, and `hold`."""
        return self._file.ask(Settle(job_id=job.job_id, settlement=settlement, at=at))

    async def hand_over(self, job: Job, handover: HandOver) -> Job:
        """See `Ledger.hand_over`."""
        running: Job = await self._file.ask(Note(job_id=job.job_id, handover=handover))
        return running

    async def ask_to_cancel(self, job: Job, *, at: datetime) -> Job:
        """See `Ledger.ask_to_cancel`."""
        asked: Job = await self._file.ask(AskToCancel(job_id=job.job_id, at=at))
        return asked

    async def rebalance(self, prefix: str, decide: Callable[[Shards], Sequence[Move]]) -> Shards:
        """See `Ledger.rebalance`."""
        return await self._file.run(lambda connection: _rebalance(connection, prefix, decide))

    async def job(self, job_id: str) -> Job | None:
        """See `Ledger.job`."""
        return await self._file.read(lambda connection: _job(connection, job_id))

    async def jobs(
        self,
        *,
        caller: str | None = None,
        since: datetime | None = None,
        until: datetime | None = None,
        limit: int = 100,
    ) -> list[Job]:
        """See `Ledger.jobs`."""
        wanted: dict[str, object] = {
            "caller = ?": caller,
            "held_us >= ?": since and meter.to_microseconds(since),
            "held_us < ?": until and meter.to_microseconds(until),
        }
        conditions = {condition: value for condition, value in wanted.items() if value is not None}
        where = f"WHERE {' AND '.join(conditions)}" if conditions else ""
        return await self._select(f"{where} ORDER BY held_us DESC, job_id LIMIT ?", (*conditions.values(), limit))

    async def expired(self, *, now: datetime, limit: int = 100) -> list[Job]:
        """See `Ledger.expired`."""
        return await self._select(
            "WHERE state IN ('held', 'running') AND expires_us <= ? ORDER BY expires_us LIMIT ?",
            (meter.to_microseconds(now), limit),
        )

    async def counters(self, account: str) -> Mapping[tuple[str, ...], int]:
        """See `Ledger.counters`."""
        query = "SELECT counter, value FROM counters WHERE account = ?"
        rows = await self._file.read(lambda connection: connection.execute(query, (account,)).fetchall())
        return {_path(counter): value for counter, value in rows}

    async def accounts(self, prefix: str, *, limit: int = 1000) -> list[str]:
        """See `Ledger.accounts`."""
        query = """SELECT DISTINCT account FROM counters WHERE substr(account, 1, length(:prefix)) = :prefix
                   ORDER BY account LIMIT :limit"""
        values = {"prefix": prefix, "limit": limit}
        rows = await self._file.read(lambda connection: connection.execute(query, values).fetchall())
        return [account for (account,) in rows]

    async def read(self, path: str) -> dict[str, Any] | None:
        """See `Documents.read`."""
        return await self._file.read(lambda connection: _document(connection, path))

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
        rows = await self._file.read(lambda connection: connection.execute(query, values).fetchall())
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
        rows = await self._file.read(lambda connection: connection.execute(query, values).fetchall())
        return {path.removeprefix(f"{collection}/"): msgspec.json.decode(document) for path, document in rows}

    async def close(self) -> None:
        """See `Ledger.close`."""
        await self._file.close()

    async def _changed(self, query: str, path: str, fields: Mapping[str, Any]) -> bool:
        values = {"path": path, "fields": msgspec.json.encode(dict(fields)).decode()}
        return await self._file.run(lambda connection: connection.execute(query, values).rowcount > 0)

    async def _select(self, rest: str, values: tuple[object, ...]) -> list[Job]:
        query = f"SELECT job FROM jobs {rest}"  # noqa: S608 - `rest` is a constant of this file
        rows = await self._file.read(lambda connection: connection.execute(query, values).fetchall())
        return [_decode(row) for row in rows]


def _rebalance(connection: sqlite3.Connection, prefix: str, decide: Callable[[Shards], Sequence[Move]]) -> Shards:
    query = "SELECT account, counter, value FROM counters WHERE substr(account, 1, length(:prefix)) = :prefix"
    seen: dict[str, dict[tuple[str, ...], int]] = {}
    for account, counter, value in connection.execute(query, {"prefix": prefix}):
        seen.setdefault(account, {})[_path(counter)] = value
    add(connection, decide(seen))
    return seen


def _job(connection: sqlite3.Connection, job_id: str) -> Job | None:
    row = connection.execute("SELECT job FROM jobs WHERE job_id = ?", (job_id,)).fetchone()
    return _decode(row) if row else None


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
