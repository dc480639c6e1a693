"""How jobs and counters lie in Firestore's documents, where their owner reads them in the console."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from datetime import UTC, date, datetime, timedelta
from itertools import groupby
from typing import Any

import msgspec

from gate.domain.job import Job
from gate.domain.meter import Move
from gate.errors import LedgerError
from gate.ledgers._firestore_writes import SCHEMA_VERSION, Count

JOBS = "jobs"
_KEPT_AFTER_END = timedelta(days=30)
_HOURS_KEPT_DAYS = 2
_DAYS_KEPT = 32
_DAYS_FORGOTTEN = 31
_MONTHS_KEPT = 14
_MONTHS_FORGOTTEN = 13


def job_path(job_id: str) -> str:
    """Return the path of a job's document."""
    return f"{JOBS}/{job_id}"


def encode_job(job: Job) -> dict[str, Any]:
    """Return a job's document. Firestore deletes it within a day or so after its `ttl`."""
    fields: dict[str, Any] = msgspec.to_builtins(job, builtin_types=(datetime,))
    del fields["version"]  # It is the document's update time.
    kept_until = (job.finished_at or job.expires_at) + _KEPT_AFTER_END
    filled = {name: value for name, value in fields.items() if value is not None}
    return {**SCHEMA_VERSION, **filled, "ttl": kept_until}


def changed_fields(before: Job, after: Job) -> dict[str, Any]:
    """Return the part of a job's document that differs."""
    old = encode_job(before)
    return {name: value for name, value in encode_job(after).items() if old.get(name) != value}


def decode_job(fields: Mapping[str, Any], version: str) -> Job:
    """Read a job's document.

    Raises:
        LedgerError: somebody changed it into something that is no job.
    """
    try:
        return msgspec.convert({**plain_fields(fields), "version": version}, Job)
    except msgspec.ValidationError as exc:
        raise LedgerError(f"{job_path(fields.get('job_id', '?'))} is malformed: {exc}") from exc


def plain_fields(fields: Mapping[str, Any]) -> dict[str, Any]:
    """Return a document's fields with times of Python's own kind."""
    return {name: _plain_time(value) for name, value in fields.items()}


def counts(
    moves: Sequence[Move], *, settled_at: datetime | None = None, versions: Mapping[str, str] | None = None
) -> list[Count]:
    """Return one write per account. At a settlement, the account also drops the periods that it has outlived.

    An account in `versions` must still be at that version.
    """
    by_account = groupby(sorted(moves, key=lambda move: move.account), key=lambda move: move.account)
    forget = list(_outlived(settled_at)) if settled_at else []
    demanded = versions or {}
    return [_count(account, list(its), forget, demanded.get(account)) for account, its in by_account]


def counters_in(fields: Mapping[str, Any]) -> dict[tuple[str, ...], int]:
    """Return every number of an account's document by its path."""
    return {path: value for path, value in _numbers(fields, ()) if path[0] not in SCHEMA_VERSION}


def whole(value: float) -> int:
    """Return a counter as a whole number; one that was edited into a fraction is rounded up, never down.

    Raises:
        LedgerError: it was edited into no number at all.
    """
    if not math.isfinite(value):
        raise LedgerError(f"a counter holds {value}; set it to a whole number in the Firebase console")
    return math.ceil(value)


def _count(account: str, moves: list[Move], forget: list[tuple[str, ...]], version: str | None) -> Count:
    # A job that is settled weeks late still moves its own day or hour, which one commit cannot also delete.
    moved = {move.counter[:length] for move in moves for length in (2, 3)}
    forgotten = [period for period in forget if period not in moved]
    return Count(account=account, moves=moves, forget=forgotten, version=version)


def _outlived(at: datetime) -> Iterator[tuple[str, ...]]:
    """Name the hours, days and months to delete, which need not be there.

    Nothing is read to know which are. An account in use loses the hours of a day 2 days after it, each day 32 days
    after it and each month 14 months after it; one that rests for longer than that keeps the days before its rest, at
    most 32 of about 100 bytes, so resting every other month for a century would still leave a document far below
    Firestore's 1 MiB.
    """
    today, month = at.astimezone(UTC).date(), at.year * 12 + at.month - 1
    for age in range(_HOURS_KEPT_DAYS, _DAYS_KEPT):
        yield "days", f"{today - timedelta(days=age):%Y-%m-%d}", "hours"
    for age in range(_DAYS_KEPT, _DAYS_KEPT + _DAYS_FORGOTTEN):
        yield "days", f"{today - timedelta(days=age):%Y-%m-%d}"
    for age in range(_MONTHS_KEPT, _MONTHS_KEPT + _MONTHS_FORGOTTEN):
        year, index = divmod(month - age, 12)
        yield "months", f"{date(year, index + 1, 1):%Y-%m}"


def _numbers(value: Any, path: tuple[str, ...]) -> Iterator[tuple[tuple[str, ...], int]]:
    if isinstance(value, Mapping):
        for name, inner in value.items():
            yield from _numbers(inner, (*path, name))
    elif isinstance(value, int | float) and not isinstance(value, bool):
        yield path, whole(value)


def _plain_time(value: Any) -> Any:
    """The SDK's own kind of datetime is not one to msgspec; nothing here is finer than a microsecond."""
    if not isinstance(value, datetime):
        return value
    return datetime.fromtimestamp(0, UTC) + (value - datetime.fromtimestamp(0, UTC))
