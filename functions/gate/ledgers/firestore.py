"""The ledger in production: Firestore. A hold is one commit and no read; so is the settlement that follows it.

The sums after a hold come back with the commit. One that `meter.decide` denies is put back by a second commit. See
docs/adr/0002-firestore-ledger.md for what was measured.
"""

from __future__ import annotations

import asyncio
import random
from collections.abc import Awaitable, Callable, Mapping, Sequence
from contextlib import suppress
from datetime import datetime
from typing import Any

import msgspec

from gate.domain import meter
from gate.domain.job import HandOver, Job, JobState, Settlement
from gate.domain.lending import Shards
from gate.domain.meter import Key, Move
from gate.errors import JobNotFoundError, LedgerError, UnauthenticatedError
from gate.exchanges import Exchanges
from gate.ledgers._firestore_documents import (
    JOBS,
    changed_fields,
    counters_in,
    counts,
    decode_job,
    encode_job,
    job_path,
    plain_fields,
)
from gate.ledgers._firestore_wire import FirestoreWire
from gate.ledgers._firestore_writes import (
    SCHEMA_VERSION,
    Create,
    Delete,
    Found,
    PreconditionError,
    Replace,
    Touch,
    Update,
    Write,
)
from gate.ports import Admitted, Denied, Repeated

_TRIES = 4
"""How often something is tried again that another writer of the same job came in the way of. Each time one of them
has got on, and a job has only three steps to go, so there is nothing to wait for in between."""
_REBALANCE_TRIES = 20
_REBALANCE_PAUSE_SECONDS = (0.01, 0.1)


class FirestoreLedger:
    """A `Ledger`, and the `Documents` beside it, in one Firestore database.

    Connects at the first call and belongs to that call's event loop, so it may be made before a server forks.

    Args:
        project: the Google Cloud project; by default the environment's.
        database: the database's name; by default the one called "(default)".
        exchanges: another way to send requests.
    """

    def __init__(
        self,
        project: str | None = None,
        *,
        database: str | None = None,
        exchanges: Exchanges | None = None,
    ) -> None:
        self._project = project
        self._database = database
        self._exchanges = exchanges
        self._open_wire: FirestoreWire | None = None
        self._closed = False

    async def hold(
        self, job: Job, moves: Sequence[Move], *, require: Sequence[str] = ()
    ) -> Admitted | Denied | Repeated:
        """See `Ledger.hold`."""
        create = Create(path=job_path(job.job_id), fields=encode_job(job))
        touched = [Touch(path=path, fields={"last_used_at": job.held_at}) for path in require]
        for _ in range(_TRIES):
            try:
                made = await self._wire.commit([create, *counts(moves), *touched])
            except PreconditionError:
                await self._demand(require)
                there = await self.job(job.job_id)
                if there is not None:
                    return await self._already_there(there, job, moves)
                continue  # A twin of this request was denied and put back while we looked.
            return await self._decide(msgspec.structs.replace(job, version=made.version), moves, made.sums)
        raise LedgerError(f"job {job.job_id} was there at each commit and gone at each read")

    async def hand_over(self, job: Job, handover: HandOver) -> Job:
        """See `Ledger.hand_over`."""
        return await self._change(job, lambda current: self._note(current, handover))

    async def ask_to_cancel(self, job: Job, *, at: datetime) -> Job:
        """See `Ledger.ask_to_cancel`."""
        return await self._change(job, lambda current: self._ask_to_cancel(current, at))

    async def settle(self, job: Job, settlement: Settlement, *, at: datetime) -> Job:
        """See `Ledger.settle`."""
        return await self._change(job, lambda current: self._end(current, settlement, at))

    async def rebalance(self, prefix: str, decide: Callable[[Shards], Sequence[Move]]) -> Shards:
        """See `Ledger.rebalance`."""
        collection = prefix.removesuffix("/")
        for _ in range(_REBALANCE_TRIES):
            found = {f"{collection}/{one.name}": one for one in await self._wire.query(collection)}
            seen = {account: counters_in(one.fields) for account, one in found.items()}
            moves = decide(seen)
            gaining = {move.account for move in moves if move.amount > 0}
            versions = {account: found[account].version if account in found else "" for account in gaining}
            if not moves:
                return seen
            with suppress(PreconditionError):
                await self._wire.commit(counts(moves, versions=versions))
                return seen
            await asyncio.sleep(random.uniform(*_REBALANCE_PAUSE_SECONDS))  # noqa: S311 - no secret hangs on it
        raise LedgerError(f"accounts under {prefix} changed at each of {_REBALANCE_TRIES} tries to rebalance them")

    async def job(self, job_id: str) -> Job | None:
        """See `Ledger.job`."""
        found = await self._wire.get(job_path(job_id))
        return decode_job(found.fields, found.version) if found else None

    async def jobs(
        self,
        *,
        caller: str | None = None,
        since: datetime | None = None,
        until: datetime | None = None,
        limit: int = 100,
    ) -> list[Job]:
        """See `Ledger.jobs`."""
        wanted = {("caller", "=="): caller, ("held_at", ">="): since, ("held_at", "<"): until}
        where = {condition: value for condition, value in wanted.items() if value is not None}
        found = await self._wire.query(JOBS, where=where, order_by="held_at", descending=True, limit=limit)
        return [decode_job(one.fields, one.version) for one in found]

    async def expired(self, *, now: datetime, limit: int = 100) -> list[Job]:
        """See `Ledger.expired`. One that the owner edited into no job is an error only when it is all there is."""
        unfinished = [state.value for state in JobState if not state.final]
        where = {("state", "in"): unfinished, ("expires_at", "<="): now}
        found = await self._wire.query(JOBS, where=where, order_by="expires_at", limit=limit)
        jobs, malformed = [], None
        for one in found:
            try:
                jobs.append(decode_job(one.fields, one.version))
            except LedgerError as exc:
                malformed = exc
        if malformed and not jobs:
            raise malformed
        return jobs

    async def counters(self, account: str) -> Mapping[tuple[str, ...], int]:
        """See `Ledger.counters`."""
        found = await self._wire.get(account)
        return counters_in(found.fields) if found else {}

    async def accounts(self, prefix: str, *, limit: int = 1000) -> list[str]:
        """See `Ledger.accounts`."""
        collection = prefix.removesuffix("/")
        found = await self._wire.query(collection, limit=limit, names_only=True)
        return [f"{collection}/{one.name}" for one in found]

    async def read(self, path: str) -> dict[str, Any] | None:
        """See `Documents.read`."""
        found = await self._wire.get(path)
        return plain_fields(found.fields) if found else None

    async def write(self, path: str, document: Mapping[str, Any]) -> None:
        """See `Documents.write`."""
        await self._wire.commit([Replace(path=path, fields={**document, **SCHEMA_VERSION})])

    async def swap(self, path: str, *, old: Mapping[str, Any] | None, new: Mapping[str, Any]) -> bool:
        """See `Documents.swap`."""
        found = await self._wire.get(path)
        if not _is(found, old):
            return False
        fields = {**new, **SCHEMA_VERSION}
        write = (
            Update(path=path, fields=fields, version=found.version, forget=sorted(found.fields.keys() - fields))
            if found
            else Create(path=path, fields=fields)
        )
        try:
            await self._wire.commit([write])
        except PreconditionError:
            # Another came first, or the answer to our own commit was lost and the SDK sent it again.
            return _is(await self._wire.get(path), new)
        return True

    async def collection(self, name: str) -> dict[str, dict[str, Any]]:
        """See `Documents.collection`."""
        return {one.name: one.fields for one in await self._wire.query(name)}

    async def create(self, path: str, document: Mapping[str, Any]) -> bool:
        """See `DocumentStore.create`."""
        return await self._took(Create(path=path, fields={**document, **SCHEMA_VERSION}))

    async def update(self, path: str, fields: Mapping[str, Any]) -> bool:
        """See `DocumentStore.update`."""
        return await self._took(Touch(path=path, fields=fields))

    async def delete(self, path: str) -> bool:
        """See `DocumentStore.delete`."""
        return await self._took(Delete(path=path))

    async def find(self, collection: str, field: str, value: str, *, limit: int = 1000) -> dict[str, dict[str, Any]]:
        """See `DocumentStore.find`."""
        found = await self._wire.query(collection, where={(field, "=="): value}, limit=limit)
        return {one.name: plain_fields(one.fields) for one in found}

    async def close(self) -> None:
        """See `Ledger.close`."""
        wire, self._open_wire, self._closed = self._open_wire, None, True
        if wire:
            await wire.close()

    async def _took(self, write: Write) -> bool:
        """Do one write, and say whether its document was as the write demands."""
        try:
            await self._wire.commit([write])
        except PreconditionError:
            return False
        return True

    @property
    def _wire(self) -> FirestoreWire:
        """The connection, made at the first call: not at import, where a server has yet to fork."""
        if self._closed:
            raise LedgerError("the ledger is closed")
        if self._open_wire is None:
            self._open_wire = FirestoreWire.open(self._project, self._database, self._exchanges)
        return self._open_wire

    async def _demand(self, paths: Sequence[str]) -> None:
        for path in paths:
            if await self._wire.get(path) is None:
                raise UnauthenticatedError(f"{path} is there no more")

    async def _already_there(self, there: Job, job: Job, moves: Sequence[Move]) -> Admitted | Denied | Repeated:
        """Tell a repeated request from our own hold, whose answer was lost and which the wire then sent again.

        For our own, the counters are read instead. They hold it and everything else that was admitted, so deciding
        on them admits no more than deciding on its own sums would have.
        """
        if there.attempt != job.attempt or there.state.final:
            return Repeated(job=there)
        sums: dict[Key, int] = {move.key: 0 for move in moves}
        for account in {move.account for move in moves}:
            sums |= {(account, path): value for path, value in (await self.counters(account)).items()}
        return await self._decide(there, moves, sums)

    async def _decide(self, held: Job, moves: Sequence[Move], sums: Mapping[Key, int]) -> Admitted | Denied:
        denial = meter.decide(moves, sums, now=held.held_at)
        if denial is None:
            return Admitted(job=held, sums=sums)
        await self._put_back(held, moves)
        return Denied(denial=denial)

    async def _put_back(self, held: Job, moves: Sequence[Move]) -> None:
        """Undo a denied hold. The job's version makes sure that a repeated commit undoes it once."""
        undo = counts(meter.moves_to_put_back(moves))
        current: Job | None = held
        for _ in range(_TRIES):
            if current is None or current.attempt != held.attempt or current.state.final:
                return
            try:
                await self._wire.commit([Delete(path=job_path(held.job_id), version=current.version), *undo])
            except PreconditionError:
                current = await self.job(held.job_id)
            else:
                return
        raise LedgerError(f"job {held.job_id} changed at each try to put it back")

    async def _change(self, job: Job, change: Callable[[Job], Awaitable[Job]]) -> Job:
        """Change a job that has not ended, on the condition that it still is as it is thought to be."""
        current = job if job.version and not job.state.final else await self._existing(job.job_id)
        for _ in range(_TRIES):
            if current.state.final:
                return current
            try:
                return await change(current)
            except PreconditionError:
                current = await self._existing(job.job_id)
        raise LedgerError(f"job {job.job_id} changed at each try to change it")

    async def _note(self, job: Job, handover: HandOver) -> Job:
        return await self._replaced(job, job.handed_over(handover))

    async def _ask_to_cancel(self, job: Job, at: datetime) -> Job:
        return (
            job
            if job.cancel_asked_at
            else await self._replaced(job, msgspec.structs.replace(job, cancel_asked_at=at))
        )

    async def _replaced(self, before: Job, after: Job) -> Job:
        update = Update(path=job_path(before.job_id), fields=changed_fields(before, after), version=before.version)
        made = await self._wire.commit([update])
        return msgspec.structs.replace(after, version=made.version)

    async def _end(self, job: Job, settlement: Settlement, at: datetime) -> Job:
        done = job.settled(settlement, at=at)
        moves = [move for move in meter.moves_to_settle(job, settlement) if move.amount]
        update = Update(path=job_path(job.job_id), fields=changed_fields(job, done), version=job.version)
        made = await self._wire.commit([update, *counts(moves, settled_at=at)])
        return msgspec.structs.replace(done, version=made.version)

    async def _existing(self, job_id: str) -> Job:
        job = await self.job(job_id)
        if job is None:
            raise JobNotFoundError(f"no job {job_id}")
        return job


def _is(found: Found | None, document: Mapping[str, Any] | None) -> bool:
    """Return whether a document as it was read is this one, whatever the layout's version."""
    if found is None or document is None:
        return found is None and document is None
    return {**found.fields, **SCHEMA_VERSION} == {**document, **SCHEMA_VERSION}
